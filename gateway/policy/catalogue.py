"""What ``gateway.config`` must know of filters it may not import: names, options, result words, shipped reactions."""

from collections.abc import Mapping

from gateway.policy.filter import Filter

# Filter name → class; ``gateway.filters`` discovers them, ``gateway.app`` hands the catalogue down.
Catalogue = Mapping[str, type[Filter[object]]]
