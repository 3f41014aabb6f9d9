"""Calls that should be refused: every public function, every option of the command line, every file that is read.

- `entry_points` finds what is public, and a good call of it in the examples of its docstring
- `values` is the table of what an argument is replaced by
- `outcomes` runs one such call and says what is wrong with its end
- `workers` runs many, each where it can hang or crash without harm, while `progress` tells how far that is
- `command_line` and `loaders` make such calls of commands and of damaged files
- `grouping` makes dozens of groups of thousands of finds
"""
