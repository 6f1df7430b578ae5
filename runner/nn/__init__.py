"""Neural networks: loaders, layers with their gradient units, the evaluator, the decision, and the standard workflow."""

from runner.nn.standard_workflow import StandardWorkflow

__all__ = ["StandardWorkflow"]
