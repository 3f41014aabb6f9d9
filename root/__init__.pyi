from . import claims as claims
from . import cli as cli
from . import figures as figures
from . import simulations as simulations
from . import testing as testing
from . import theory as theory
from .claims.registry import verify as verify
from .simulations import ensemble as ensemble
from .simulations import langevin as langevin
from .simulations import least_squares as least_squares
from .simulations import ornstein_uhlenbeck as ornstein_uhlenbeck
from .simulations import sde as sde
from .simulations import toy as toy
from .simulations.neural.diagnosis import diagnose as diagnose
from .simulations.sampling import draw as draw
from .theory.sampling import Bernoulli as Bernoulli
from .theory.sampling import Enhanced as Enhanced
from .theory.sampling import Gaussian as Gaussian
from .theory.sampling import GaussianMinibatch as GaussianMinibatch
from .theory.sampling import Minibatch as Minibatch
from .theory.sampling import Rademacher as Rademacher
from .theory.sampling import SamplingNoise as SamplingNoise
from .theory.sampling import SparseGaussian as SparseGaussian
from .theory.sampling import StudentT as StudentT

__version__: str
