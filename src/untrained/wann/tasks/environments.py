"""Environments that come with the package, as pure functions; the physics is that of their sources.

Swing-up: Deisenroth's cart-pole as the authors of WANN have it (Gaier & Ha 2019). The others: Gymnasium's classic
control. Actions: outputs are cut to [-1, 1] and scaled; where a choice is to be made, the biggest output wins (one
output: its sign).
"""

from __future__ import annotations

import math

import numpy as np

from untrained.wann.numerics.jit import inlined
from untrained.wann.numerics.vector_math import cos, sin
from untrained.wann.tasks.control import JitEnv
from untrained.wann.tasks.upright import upright

# ---- cart-pole swing-up: x, speed, angle (0 is up), angular speed; its cos and sin, which are needed again

_CART = ("x", "ẋ", "cos θ", "sin θ", "θ̇")


def _swing_up_reset(seed):
    np.random.seed(seed)
    x, speed = np.random.normal(0.0, 0.2), np.random.normal(0.0, 0.2)
    angle = math.pi + np.random.normal(0.0, 0.2)
    return (x, speed, angle, np.random.normal(0.0, 0.2), cos(angle), sin(angle))


def _swing_up_hard_reset(seed):
    np.random.seed(seed)
    x, speed = np.random.uniform(-1.2, 1.2), np.random.normal(0.0, 1.0)
    angle = np.random.uniform(-math.pi, math.pi)
    return (x, speed, angle, np.random.normal(0.0, 1.0), cos(angle), sin(angle))


def _swing_up_observe(state):
    x, speed, _, spin, c, s = state
    return (x, speed, c, s, spin)


def _swing_up_step(state, action):
    x, speed, angle, spin, c, s = state
    g, cart, pole, length, friction, dt = 9.82, 0.5, 0.5, 0.6, 0.1, 0.01
    both, lever = cart + pole, pole * length
    force = 10.0 * min(max(action[0], -1.0), 1.0)
    pull = (-2.0 * lever * (spin * spin) * s + 3.0 * pole * g * s * c + 4.0 * force - 4.0 * friction * speed) / (
        4.0 * both - 3.0 * pole * (c * c)
    )
    turn = (-3.0 * lever * (spin * spin) * s * c + 6.0 * both * g * s + 6.0 * (force - friction * speed) * c) / (
        4.0 * length * both - 3.0 * lever * (c * c)
    )
    x, angle = x + speed * dt, angle + spin * dt
    speed, spin = speed + pull * dt, spin + turn * dt
    c, s = cos(angle), sin(angle)
    reward = (c + 1.0) / 2.0 * cos(x / 2.4 * (math.pi / 2.0))
    return (x, speed, angle, spin, c, s), reward, abs(x) > 2.4


def _swing_up_measures(states):
    found = upright(states[:, 2], 0.01)
    if abs(states[-1, 0]) > 2.4:  # off the track
        found["upright at the end (%)"] = 0.0
    return found


def _swing_up(reset, name):
    functions = reset, _swing_up_observe, _swing_up_step
    more = {"input_names": _CART, "measures": _swing_up_measures, "most": 1000.0}
    return JitEnv(*functions, outputs=1, max_steps=1000, name=name, **more)


def swing_up() -> JitEnv:
    """Return the task to swing a hanging pole up by moving its cart, and to keep it there.

    5 inputs (x, ẋ, cos θ, sin θ, θ̇), 1 output. The reward of a step is (cos θ + 1)/2 · cos(π x / 4.8), at most 1; an
    episode ends at |x| > 2.4 or after 1,000 steps of 0.01 s. A pole that merely whirls gets about half of it, so the
    task measures also for how long the pole is upright (cos θ > 0.9), and how often it turns.

    Example:
        >>> task = wann.swing_up()
        >>> task.inputs, task.outputs, task.max_steps
        (5, 1, 1000)
    """
    return _swing_up(_swing_up_reset, "swingup")


def swing_up_hard() -> JitEnv:
    """Return the swing-up that starts in motion, at any angle and any place on the inner half of the track.

    The authors name a hard form and publish no settings of it; these are chosen here.

    Example:
        >>> task = wann.swing_up_hard()
        >>> task.inputs, task.outputs, task.max_steps
        (5, 1, 1000)
    """
    return _swing_up(_swing_up_hard_reset, "swingup-hard")


# ---- CartPole-v1: x, speed, angle, angular speed


def _cart_pole_reset(seed):
    np.random.seed(seed)
    x, speed = np.random.uniform(-0.05, 0.05), np.random.uniform(-0.05, 0.05)
    return (x, speed, np.random.uniform(-0.05, 0.05), np.random.uniform(-0.05, 0.05))


def _whole_state(state):
    return state


def _cart_pole_step(state, action):
    x, speed, angle, spin = state
    force = 10.0 if action[0] > 0.0 else -10.0
    c, s = cos(angle), sin(angle)
    push = (force + 0.05 * (spin * spin) * s) / 1.1
    turn = (9.8 * s - c * push) / (0.5 * (4.0 / 3.0 - 0.1 * (c * c) / 1.1))
    pull = push - 0.05 * turn * c / 1.1
    x, angle = x + 0.02 * speed, angle + 0.02 * spin
    state = (x, speed + 0.02 * pull, angle, spin + 0.02 * turn)
    return state, 1.0, (abs(x) > 2.4) | (abs(angle) > 12 * 2 * math.pi / 360)


def _cart_pole_measures(states):
    x, angle = states[-1, 0], states[-1, 2]
    stands = (abs(x) <= 2.4) & (abs(angle) <= 12 * 2 * math.pi / 360)
    return {"upright (s)": 0.02 * (len(states) - 1), "upright at the end (%)": 100.0 * bool(stands)}


def cart_pole() -> JitEnv:
    """Return the task to keep a pole upright on a cart (CartPole-v1).

    4 inputs, 1 output whose sign pushes; the reward is 1 a step, up to 500 steps.

    Example:
        >>> task = wann.cart_pole()
        >>> task.inputs, task.outputs, task.max_steps
        (4, 1, 500)
    """
    functions = _cart_pole_reset, _whole_state, _cart_pole_step
    more = {"input_names": ("x", "ẋ", "θ", "θ̇"), "measures": _cart_pole_measures, "most": 500.0}
    return JitEnv(*functions, outputs=1, max_steps=500, name="cartpole", **more)


# ---- Pendulum-v1: angle (0 is up), angular speed


def _pendulum_reset(seed):
    np.random.seed(seed)
    return (np.random.uniform(-math.pi, math.pi), np.random.uniform(-1.0, 1.0))


def _pendulum_observe(state):
    angle, spin = state
    return (cos(angle), sin(angle), spin)


def _pendulum_step(state, action):
    angle, spin = state
    torque = 2.0 * min(max(action[0], -1.0), 1.0)
    off = angle - 2.0 * math.pi * np.floor(angle / (2.0 * math.pi) + 0.5)
    cost = off * off + 0.1 * (spin * spin) + 0.001 * (torque * torque)
    spin = spin + (15.0 * sin(angle) + 3.0 * torque) * 0.05
    spin = min(max(spin, -8.0), 8.0)
    return (angle + spin * 0.05, spin), -cost, False


def _pendulum_measures(states):
    return upright(states[:, 0], 0.05)


def pendulum() -> JitEnv:
    """Return the task to swing a pendulum up with a weak motor (Pendulum-v1).

    3 inputs (cos θ, sin θ, θ̇), 1 output; 200 steps.

    Example:
        >>> task = wann.pendulum()
        >>> task.inputs, task.outputs, task.max_steps
        (3, 1, 200)
    """
    functions = _pendulum_reset, _pendulum_observe, _pendulum_step
    more = {"input_names": ("cos θ", "sin θ", "θ̇"), "measures": _pendulum_measures}
    return JitEnv(*functions, outputs=1, max_steps=200, name="pendulum", **more)


# ---- Acrobot-v1: two angles, two angular speeds


def _acrobot_reset(seed):
    np.random.seed(seed)
    first, second = np.random.uniform(-0.1, 0.1), np.random.uniform(-0.1, 0.1)
    return (first, second, np.random.uniform(-0.1, 0.1), np.random.uniform(-0.1, 0.1))


def _acrobot_observe(state):
    first, second, spin1, spin2 = state
    return (cos(first), sin(first), cos(second), sin(second), spin1, spin2)


@inlined
def _acrobot_turn(first, second, spin1, spin2, torque):
    # Book form of the dynamics with unit masses and lengths (Sutton & Barto), g = 9.8.
    c2, s2 = cos(second), sin(second)
    d1, d2 = 3.5 + c2, 1.25 + 0.5 * c2
    phi2 = 4.9 * cos(first + second - math.pi / 2.0)
    phi1 = -0.5 * (spin2 * spin2) * s2 - spin2 * spin1 * s2 + 14.7 * cos(first - math.pi / 2.0) + phi2
    turn2 = (torque + d2 / d1 * phi1 - 0.5 * (spin1 * spin1) * s2 - phi2) / (1.25 - d2 * d2 / d1)
    return -(d2 * turn2 + phi1) / d1, turn2


def _acrobot_step(state, action):
    a, b, u, v = state
    torque = -1.0 if (action[0] >= action[1]) & (action[0] >= action[2]) else (0.0 if action[1] >= action[2] else 1.0)
    h = 0.2  # one step of the classical Runge-Kutta method
    u1, v1 = _acrobot_turn(a, b, u, v, torque)
    u2, v2 = _acrobot_turn(a + h / 2 * u, b + h / 2 * v, u + h / 2 * u1, v + h / 2 * v1, torque)
    ua, va = u + h / 2 * u1, v + h / 2 * v1
    ub, vb = u + h / 2 * u2, v + h / 2 * v2
    u3, v3 = _acrobot_turn(a + h / 2 * ua, b + h / 2 * va, ub, vb, torque)
    uc, vc = u + h * u3, v + h * v3
    u4, v4 = _acrobot_turn(a + h * ub, b + h * vb, uc, vc, torque)
    a, b = a + h / 6 * (u + 2 * ua + 2 * ub + uc), b + h / 6 * (v + 2 * va + 2 * vb + vc)
    u, v = u + h / 6 * (u1 + 2 * u2 + 2 * u3 + u4), v + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
    a, b = a - 2 * math.pi * np.floor(a / (2 * math.pi) + 0.5), b - 2 * math.pi * np.floor(b / (2 * math.pi) + 0.5)
    u, v = min(max(u, -4 * math.pi), 4 * math.pi), min(max(v, -9 * math.pi), 9 * math.pi)
    ended = -cos(a) - cos(b + a) > 1.0
    return (a, b, u, v), 0.0 if ended else -1.0, ended


def _acrobot_measures(states):
    first, second = states[-1, 0], states[-1, 1]
    above = -math.cos(first) - math.cos(first + second) > 1.0
    return {"above the line (%)": 100.0 * above, "time (s)": 0.2 * (len(states) - 1)}


def acrobot() -> JitEnv:
    """Return the task to swing the tip of two links above a line (Acrobot-v1).

    6 inputs, 3 outputs; the reward is -1 a step, up to 500 steps.

    Example:
        >>> task = wann.acrobot()
        >>> task.inputs, task.outputs, task.max_steps
        (6, 3, 500)
    """
    functions = _acrobot_reset, _acrobot_observe, _acrobot_step
    return JitEnv(
        *functions,
        outputs=3,
        max_steps=500,
        name="acrobot",
        input_names=("cos θ₁", "sin θ₁", "cos θ₂", "sin θ₂", "θ̇₁", "θ̇₂"),
        measures=_acrobot_measures,
    )


# ---- MountainCarContinuous-v0: place, speed


def _mountain_car_reset(seed):
    np.random.seed(seed)
    return (np.random.uniform(-0.6, -0.4), 0.0)


def _mountain_car_step(state, action):
    place, speed = state
    force = min(max(action[0], -1.0), 1.0)
    speed = min(max(speed + force * 0.0015 - 0.0025 * cos(3.0 * place), -0.07), 0.07)
    place = min(max(place + speed, -1.2), 0.6)
    speed = 0.0 if (place == -1.2) & (speed < 0.0) else speed
    ended = (place >= 0.45) & (speed >= 0.0)
    return (place, speed), (100.0 if ended else 0.0) - 0.1 * (action[0] * action[0]), ended


def _mountain_car_measures(states):
    place, speed = states[-1]
    return {"at the top (%)": 100.0 * bool((place >= 0.45) & (speed >= 0.0)), "steps": len(states) - 1.0}


def mountain_car() -> JitEnv:
    """Return the task to rock a weak car out of a valley (MountainCarContinuous-v0).

    2 inputs, 1 output; the reward is 100 at the top, less 0.1·action² a step; up to 999 steps.

    Example:
        >>> task = wann.mountain_car()
        >>> task.inputs, task.outputs, task.max_steps
        (2, 1, 999)
    """
    functions = _mountain_car_reset, _whole_state, _mountain_car_step
    more = {"input_names": ("place", "speed"), "measures": _mountain_car_measures, "most": 100.0}
    return JitEnv(*functions, outputs=1, max_steps=999, name="mountain-car", **more)
