"""The kernel of the two-basin toy.

A group of paths runs side by side, so that the compiler vectorises across them. All numbers of a group stand in one flat
array in rows of `_LANES`, at offsets that the compiler knows: only then can it tell that rows do not overlap. Within a
branch the gradient is affine in the sample, so the count, sums and second moments of the samples on the sharp branch
suffice; and where a bound shows that all samples of each path are on one branch, not even these need a look at the samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradnoise.simulations.ensemble import kernel, part
from gradnoise.simulations.sampling import indices_per_uniform
from gradnoise.theory.escape import two_basin
from gradnoise.theory.gradient_noise import DYNAMICS

__all__ = ["BYTES_OF_A_SAMPLE", "ESCAPED_BELOW", "Records", "Study", "run_paths"]

#: Both coordinates below this count as having reached the flat basin.
ESCAPED_BELOW = -0.5

_GD, _CONST, _DIAG, _LEADING, _HESSIAN, _EIGVEC = range(len(DYNAMICS))
_SGD = len(DYNAMICS)

_LANES = 16  # part of the contract, as it decides the order in which normals are drawn
_H11, _H12, _H22 = (
    float(two_basin.SHARP_HESSIAN[0, 0]),
    float(two_basin.SHARP_HESSIAN[0, 1]),
    float(two_basin.SHARP_HESSIAN[1, 1]),
)
_R = float(np.sqrt(0.5))

# Rows of a group's state: parameter; means and extents of the data; the branch test; share, sums and second moments over N
# of the samples on the sharp branch; gradient; covariance, then factor, of the noise; normals; for batches
# a uniform number, an index, and a sample.
(
    _W1, _W2,
    _T1, _T2, _T11, _T12, _T22, _QLOW, _QHIGH, _REACH1, _REACH2,
    _D0, _D1, _D2,
    _N, _S1, _S2, _S11, _S12, _S22,
    _G1, _G2,
    _C11, _C12, _C22,
    _L11, _L21, _L22,
    _Z1, _Z2,
    _U, _I, _A1, _A2,
    _END,
) = range(0, 35 * _LANES, _LANES)  # fmt: skip
# Rows of a sample: x_1, x_2 and x'(H/2 - I)x for each path.
_X1, _X2, _Q, _SAMPLE = range(0, 4 * _LANES, _LANES)

#: Memory that a sample takes, on all paths of a group.
BYTES_OF_A_SAMPLE = 8 * _SAMPLE


class Study(NamedTuple):
    """What a study fixes."""

    code: int  # of the dynamics: its place in `gradnoise.simulations.toy.DYNAMICS`
    n_steps: int
    step_size: float  # eta
    power: float  # trace of the covariance of what a step adds to the parameter as noise. Units: parameter squared
    n_data: int
    batch_size: int  # of SGD
    tie: np.ndarray  # (2,), u_1 where the Hessian is a multiple of I
    data_factor: np.ndarray  # (2, 2), symmetric root of the data's covariance


class Records(NamedTuple):
    """What is written of each path; of the last three, those with room for no step are left out."""

    final: np.ndarray  # (n_paths, 2). Units: parameter
    escape_step: np.ndarray  # (n_paths,) int
    trajectory: np.ndarray  # (n_paths, n_steps + 1, 2)
    indicator: np.ndarray  # (n_paths, n_steps + 1)
    loss: np.ndarray  # (n_paths, n_steps + 1)


@kernel
def run_paths(generator, study, records):
    """Run the paths of a block, group by group."""
    data, s = np.empty(study.n_data * _SAMPLE), np.zeros(_END)
    for first in range(0, records.final.shape[0], _LANES):
        _run_group(generator, study, data, s, first, records)


@part
def _run_group(generator, study, data, s, first, records):
    lanes = min(_LANES, records.final.shape[0] - first)
    recorded = records.trajectory.shape[1] + records.indicator.shape[1] + records.loss.shape[1] > 0
    _draw_data(generator, study.data_factor, study.n_data, lanes, data)
    _summarise_data(data, study.n_data, s)
    s[_W1 : _W2 + _LANES] = 1.0
    records.escape_step[first : first + lanes] = -1
    for t in range(study.n_steps + (1 if recorded else 0)):
        _prepare_test(s)
        if study.code != _SGD or recorded:  # SGD itself looks at its batch alone
            _look_at_all_samples(study, data, s, records)
        if recorded:
            _record(first, lanes, t, s, records)
            if t == study.n_steps:
                break  # the last round was for the records
        _step(generator, study, data, lanes, s)
        for lane in range(lanes):
            if s[_W1 + lane] < ESCAPED_BELOW and s[_W2 + lane] < ESCAPED_BELOW and records.escape_step[first + lane] < 0:
                records.escape_step[first + lane] = t + 1
    for lane in range(lanes):
        records.final[first + lane, 0], records.final[first + lane, 1] = s[_W1 + lane], s[_W2 + lane]


@part
def _look_at_all_samples(study, data, s, records):
    """Write the gradient of the mean loss, and the covariance and factor of the dynamics' noise."""
    covariance = study.code in (_DIAG, _LEADING) or (study.code == _SGD and records.indicator.shape[1] > 0)
    if _undecided(s):
        _sharp_sums(data, study.n_data, covariance or records.loss.shape[1] > 0, s)
    _gradient(s)
    if covariance:
        _gradient_covariance(s)
    _match_trace(study, s)


@part
def _record(first, lanes, t, s, records):
    for lane in range(lanes):
        if records.trajectory.shape[1]:
            records.trajectory[first + lane, t, 0], records.trajectory[first + lane, t, 1] = s[_W1 + lane], s[_W2 + lane]
        if records.loss.shape[1]:
            records.loss[first + lane, t] = _loss(lane, s)
        if records.indicator.shape[1]:
            records.indicator[first + lane, t] = _indicator(lane, s)


@part
def _step(generator, study, data, lanes, s):
    """Take a step of the dynamics: SGD draws a batch, the others normals, as many as their noise has directions."""
    if study.code == _SGD:
        _minibatch_gradient(generator, data, study.n_data, study.batch_size, lanes, s)
    elif study.code == _EIGVEC:
        for lane in range(lanes):
            s[_Z1 + lane] = generator.standard_normal()
    elif study.code != _GD:
        for lane in range(lanes):
            s[_Z1 + lane] = generator.standard_normal()
            s[_Z2 + lane] = generator.standard_normal()
    _move(study.step_size, s)


@kernel
def _draw_data(generator, factor, n_data, lanes, data):
    data[:] = 0.0  # also in the lanes that a last group leaves empty
    for lane in range(lanes):
        for k in range(n_data):
            a, b = generator.standard_normal(), generator.standard_normal()
            data[k * _SAMPLE + _X1 + lane] = factor[0, 0] * a + factor[0, 1] * b
            data[k * _SAMPLE + _X2 + lane] = factor[1, 0] * a + factor[1, 1] * b


@kernel
def _difference_of_forms(a, b):
    """x'(H/2 - I)x at x = (a, b)."""
    return (0.5 * _H11 - 1) * a * a + _H12 * a * b + (0.5 * _H22 - 1) * b * b


@kernel
def _summarise_data(data, n_data, s):
    s[_T1 : _REACH2 + _LANES] = 0.0
    s[_QLOW : _QLOW + _LANES], s[_QHIGH : _QHIGH + _LANES] = np.inf, -np.inf
    for k in range(n_data):
        for lane in range(_LANES):
            a, b = data[k * _SAMPLE + _X1 + lane], data[k * _SAMPLE + _X2 + lane]
            q = _difference_of_forms(a, b)
            data[k * _SAMPLE + _Q + lane] = q
            s[_T1 + lane] += a
            s[_T2 + lane] += b
            s[_T11 + lane] += a * a
            s[_T12 + lane] += a * b
            s[_T22 + lane] += b * b
            s[_QLOW + lane] = min(s[_QLOW + lane], q)
            s[_QHIGH + lane] = max(s[_QHIGH + lane], q)
            s[_REACH1 + lane] = max(s[_REACH1 + lane], abs(a - b) * _R)
            s[_REACH2 + lane] = max(s[_REACH2 + lane], abs(a + b) * _R)
    for i in range(_T1, _T22 + _LANES):
        s[i] /= n_data


@kernel
def _prepare_test(s):
    """Prepare the test A - B = D0 - D1 x_1 - D2 x_2 + q < 0 of a sample, A sharp and B flat."""
    for lane in range(_LANES):
        a1, a2, f1, f2 = s[_W1 + lane] - 1, s[_W2 + lane] - 1, s[_W1 + lane] + 1, s[_W2 + lane] + 1
        ha1, ha2 = _H11 * a1 + _H12 * a2, _H12 * a1 + _H22 * a2
        s[_D0 + lane] = 0.5 * (a1 * ha1 + a2 * ha2) - (f1 * f1 + f2 * f2)
        s[_D1 + lane], s[_D2 + lane] = ha1 - 2 * f1, ha2 - 2 * f2


@kernel
def _undecided(s):
    """Whether samples must be looked at; where bounds show each path's to be on one branch, their sums are set here."""
    undecided = 0
    for lane in range(_LANES):
        d0, d1, d2 = s[_D0 + lane], s[_D1 + lane], s[_D2 + lane]
        # |D1 x_1 + D2 x_2| along the diagonals, on which the data lie; the factor covers rounding.
        reach = (abs(d1 - d2) * s[_REACH1 + lane] + abs(d1 + d2) * s[_REACH2 + lane]) * _R * 1.000001
        inside = 1.0 if d0 + reach + s[_QHIGH + lane] < -1e-9 else 0.0
        outside = 1.0 if d0 - reach + s[_QLOW + lane] > 1e-9 else 0.0
        undecided += 1 if inside + outside == 0.0 else 0
        s[_N + lane] = inside
    if undecided:
        return True
    for lane in range(_LANES):
        inside = s[_N + lane]
        s[_S1 + lane], s[_S2 + lane] = inside * s[_T1 + lane], inside * s[_T2 + lane]
        s[_S11 + lane], s[_S12 + lane], s[_S22 + lane] = inside * s[_T11 + lane], inside * s[_T12 + lane], inside * s[_T22 + lane]
    return False


@kernel
def _sharp_sums(data, n_data, second_moments, s):
    """Count, sums and second moments of the samples on the sharp branch, for each path of the group."""
    s[_N : _S22 + _LANES] = 0.0
    if second_moments:
        for k in range(n_data):
            row = k * _SAMPLE
            for lane in range(_LANES):
                a, b = data[row + _X1 + lane], data[row + _X2 + lane]
                difference = s[_D0 + lane] - s[_D1 + lane] * a - s[_D2 + lane] * b + data[row + _Q + lane]
                inside = 1.0 if difference < 0 else 0.0
                u, v = inside * a, inside * b
                s[_N + lane] += inside
                s[_S1 + lane] += u
                s[_S2 + lane] += v
                s[_S11 + lane] += u * a
                s[_S12 + lane] += u * b
                s[_S22 + lane] += v * b
    else:
        for k in range(n_data):
            row = k * _SAMPLE
            for lane in range(_LANES):
                a, b = data[row + _X1 + lane], data[row + _X2 + lane]
                difference = s[_D0 + lane] - s[_D1 + lane] * a - s[_D2 + lane] * b + data[row + _Q + lane]
                inside = 1.0 if difference < 0 else 0.0
                s[_N + lane] += inside
                s[_S1 + lane] += inside * a
                s[_S2 + lane] += inside * b
    for i in range(_N, _S22 + _LANES):
        s[i] /= n_data


@kernel
def _gradient(s):
    for lane in range(_LANES):
        # Mean over all samples of the residual (w - centre) - x on each branch, zero for those on the other one.
        p, s1, s2 = s[_N + lane], s[_S1 + lane], s[_S2 + lane]
        u1, u2 = p * (s[_W1 + lane] - 1) - s1, p * (s[_W2 + lane] - 1) - s2
        v1 = (1 - p) * (s[_W1 + lane] + 1) - (s[_T1 + lane] - s1)
        v2 = (1 - p) * (s[_W2 + lane] + 1) - (s[_T2 + lane] - s2)
        s[_G1 + lane] = _H11 * u1 + _H12 * u2 + 2 * v1
        s[_G2 + lane] = _H12 * u1 + _H22 * u2 + 2 * v2


@kernel
def _residual_moments(lane, s):
    """Second moments of the residuals on the sharp branch (m) and on the flat one (k), over all samples."""
    a1, a2, f1, f2 = s[_W1 + lane] - 1, s[_W2 + lane] - 1, s[_W1 + lane] + 1, s[_W2 + lane] + 1
    p, s1, s2 = s[_N + lane], s[_S1 + lane], s[_S2 + lane]
    s11, s12, s22 = s[_S11 + lane], s[_S12 + lane], s[_S22 + lane]
    m11 = p * a1 * a1 - 2 * a1 * s1 + s11
    m12 = p * a1 * a2 - a1 * s2 - a2 * s1 + s12
    m22 = p * a2 * a2 - 2 * a2 * s2 + s22
    p, s1, s2 = 1 - p, s[_T1 + lane] - s1, s[_T2 + lane] - s2
    k11 = p * f1 * f1 - 2 * f1 * s1 + s[_T11 + lane] - s11
    k12 = p * f1 * f2 - f1 * s2 - f2 * s1 + s[_T12 + lane] - s12
    k22 = p * f2 * f2 - 2 * f2 * s2 + s[_T22 + lane] - s22
    return m11, m12, m22, k11, k12, k22


@kernel
def _gradient_covariance(s):
    for lane in range(_LANES):
        m11, m12, m22, k11, k12, k22 = _residual_moments(lane, s)
        p11, p12 = _H11 * m11 + _H12 * m12, _H11 * m12 + _H12 * m22
        p21, p22 = _H12 * m11 + _H22 * m12, _H12 * m12 + _H22 * m22
        g1, g2 = s[_G1 + lane], s[_G2 + lane]
        c11 = p11 * _H11 + p12 * _H12 + 4 * k11 - g1 * g1  # H M H + 4 K - g g'
        c22 = p21 * _H12 + p22 * _H22 + 4 * k22 - g2 * g2
        s[_C11 + lane] = c11 if c11 > 0 else 0.0
        s[_C12 + lane] = p11 * _H12 + p12 * _H22 + 4 * k12 - g1 * g2
        s[_C22 + lane] = c22 if c22 > 0 else 0.0


@part
def _match_trace(study, s):
    """Covariance of the noise of a dynamics with its trace, from that of the gradients where it needs them."""
    code, tie, power, eta = study.code, study.tie, study.power, study.step_size
    if code == _SGD:
        for lane in range(_LANES):
            for row in (_C11, _C12, _C22):
                s[row + lane] *= eta * eta / study.batch_size
        return
    for lane in range(_LANES):
        p = s[_N + lane]
        if code == _GD:
            c11, c12, c22 = 0.0, 0.0, 0.0
        elif code == _CONST:
            c11, c12, c22 = 1.0, 0.0, 1.0
        elif code == _EIGVEC:
            u1 = tie[0] if p == 0 else _R  # the sharp branch has the same top eigenvector at every share of it
            u2 = tie[1] if p == 0 else _R
            c11, c12, c22 = u1 * u1, u1 * u2, u2 * u2
        elif code == _HESSIAN:
            c11, c12, c22 = p * _H11 + (1 - p) * 2, p * _H12, p * _H22 + (1 - p) * 2
        else:
            c11, c12, c22 = s[_C11 + lane], s[_C12 + lane], s[_C22 + lane]
            if code == _DIAG:
                c12 = 0.0
        trace = c11 + c22
        scale = power / trace if trace > 0 else 0.0
        c11, c12, c22 = c11 * scale, c12 * scale, c22 * scale
        l11 = np.sqrt(c11)
        l21 = c12 / l11 if l11 > 0 else np.sqrt(c22)
        rest = c22 - l21 * l21
        s[_C11 + lane], s[_C12 + lane], s[_C22 + lane] = c11, c12, c22
        s[_L11 + lane], s[_L21 + lane], s[_L22 + lane] = l11, l21, np.sqrt(rest if rest > 0 else 0.0)


@kernel
def _move(eta, s):
    for lane in range(_LANES):
        z1, z2 = s[_Z1 + lane], s[_Z2 + lane]
        s[_W1 + lane] += s[_L11 + lane] * z1 - eta * s[_G1 + lane]
        s[_W2 + lane] += s[_L21 + lane] * z1 + s[_L22 + lane] * z2 - eta * s[_G2 + lane]


@kernel
def _minibatch_gradient(generator, data, n_data, batch_size, lanes, s):
    digits = indices_per_uniform(n_data)
    s[_G1 : _G2 + _LANES] = 0.0
    for k in range(batch_size):
        if k % digits == 0:
            for lane in range(lanes):
                s[_U + lane] = generator.random()
        for lane in range(_LANES):
            shifted = s[_U + lane] * n_data
            s[_I + lane] = np.floor(shifted)
            s[_U + lane] = shifted - s[_I + lane]
        for lane in range(lanes):
            row = int(s[_I + lane]) * _SAMPLE + lane
            s[_A1 + lane], s[_A2 + lane] = data[row + _X1], data[row + _X2]
        for lane in range(_LANES):
            a, b = s[_A1 + lane], s[_A2 + lane]
            difference = s[_D0 + lane] - s[_D1 + lane] * a - s[_D2 + lane] * b + _difference_of_forms(a, b)
            inside = 1.0 if difference < 0 else 0.0
            u1, u2 = inside * (s[_W1 + lane] - 1 - a), inside * (s[_W2 + lane] - 1 - b)
            s[_G1 + lane] += _H11 * u1 + _H12 * u2 + 2 * (1 - inside) * (s[_W1 + lane] + 1 - a)
            s[_G2 + lane] += _H12 * u1 + _H22 * u2 + 2 * (1 - inside) * (s[_W2 + lane] + 1 - b)
    for i in range(_G1, _G2 + _LANES):
        s[i] /= batch_size


@kernel
def _loss(lane, s):
    m11, m12, m22, k11, _, k22 = _residual_moments(lane, s)
    return 0.5 * (_H11 * m11 + 2 * _H12 * m12 + _H22 * m22) + k11 + k22


@kernel
def _indicator(lane, s):
    c11, c12, c22 = s[_C11 + lane], s[_C12 + lane], s[_C22 + lane]
    p = s[_N + lane]
    return p * (_H11 * c11 + 2 * _H12 * c12 + _H22 * c22) + (1 - p) * 2 * (c11 + c22)
