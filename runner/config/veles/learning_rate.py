"""VELES's learning-rate adjuster, which counts minibatches and may set the learning rates themselves."""

from __future__ import annotations

from typing import Any

from runner.checks import choices, known
from runner.config.veles.keys import LR_PARAMETERS
from runner.errors import ConfigError

KEYS = ("do", "lr_policy_name", "bias_lr_policy_name", "lr_parameters", "bias_lr_parameters")

Rates = tuple[float | None, float | None]
"""The `base_lr` of weights and of biases, where given."""


def adjuster(conf: dict[str, Any]) -> Rates:
    """Translates the section `lr_adjuster`, in place; returns the learning rates that it sets.

    Raises:
        ConfigError: a policy is unknown or lacks a parameter, or biases and weights have different policies.
    """
    section = conf.get("lr_adjuster")
    if not isinstance(section, dict) or not set(KEYS) & set(section):
        return None, None
    do, policy, bias_policy, given, bias_given = (section.pop(key, None) for key in KEYS)
    if (policy is None and bias_policy is None) or do is False:
        return None, None
    parameters, base = _parameters(policy, given, "")
    if bias_policy is None and not bias_given:
        bias_base = base
    else:
        bias_parameters, bias_base = _parameters(bias_policy, bias_given, "bias_")
        if (policy, parameters) != (bias_policy, bias_parameters):
            raise ConfigError(
                "lr_adjuster.bias_lr_policy_name and bias_lr_parameters of VELES must be those of the weights, but for base_lr:"
                " one policy is for both"
            )
    section |= {"policy": policy, "by_minibatch": True} | parameters
    return base, bias_base


def _parameters(policy: Any, given: Any, prefix: str) -> tuple[dict[str, Any], float | None]:
    """Returns the parameters of a policy in this project's terms, and its `base_lr`."""
    where = f"lr_adjuster.{prefix}lr_"
    if policy not in LR_PARAMETERS:
        raise ConfigError(f"{where}policy_name={policy!r} is not a policy of VELES; {choices(policy, LR_PARAMETERS)}")
    names, values = LR_PARAMETERS[policy], dict(given or {})
    base = values.pop("base_lr", None)
    if values.keys() != names.keys():
        wanted = known(["base_lr", *names])
        raise ConfigError(f"{where}parameters={dict(given or {})!r} are not those of the policy {policy!r}: {wanted}")
    result = {names[key]: value for key, value in values.items()}
    if "a_ratio" in result:
        # gamma^(a n) = (gamma^a)^n
        result["gamma"] = result["gamma"] ** result.pop("a_ratio")
    return result, base
