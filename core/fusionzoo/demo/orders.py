"""The table of the demo: columns of orders, and the effect of each on the chance of a dispute."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

CATEGORIES = ("marketplace", "product_category", "seller_tier")
NUMBERS = ("order_value", "days_since_order", "buyer_orders", "seller_rating")

TIER_EFFECT: Mapping[str, float] = {"bronze": 1.2, "gold": -1.5}
ELECTRONICS_EFFECT = 0.4
MISSING_RATING_EFFECT = 1.2  # a seller without ratings; any other missing value has no effect

NICHE_SHARE, OUTLIER_SHARE = 0.03, 0.005  # shares of rows; an outlier is a hundred times too large
_MISSING_SHARES = dict(zip((*CATEGORIES, *NUMBERS), (0.01, 0.03, 0.0, 0.03, 0.03, 0.05, 0.08), strict=True))

# The most frequent value comes first.
_MARKETPLACES = "us de uk fr jp it es ca mx br au nl se pl in sg tr ae be eg za cl pt ie at gr fi nz"
_PRODUCTS = (
    "headset jacket tablet backpack smartphone novel blender camera kettle router teapot monitor puzzle scarf "
    "smartwatch lamp keyboard doormat projector tent hammer yoga_mat lunchbox bracelet curtain wallet umbrella "
    "garden_hose picture_frame board_game water_bottle coffee_mug desk_chair bicycle_pump dog_collar chess_set "
    "flower_pot baking_tray sleeping_bag bath_towel"
)
_ELECTRONICS = "headset tablet smartphone camera router monitor smartwatch keyboard projector"
_NICHE_STYLES = "vintage handmade miniature antique folding painted engraved wooden enamel travel"  # of any product
_TIER_SHARES: Mapping[str, float] = {"silver": 0.45, "bronze": 0.3, "gold": 0.2, "founding_partner": 0.05}


def draw_columns(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Return category columns (objects, None where missing) and number columns (NaN where missing), each [rows]."""
    niche = rng.choice([f"{a}_{b}" for a, b in product(_NICHE_STYLES.split(), _PRODUCTS.split())], rows)
    columns: dict[str, np.ndarray] = {
        "marketplace": _draw_zipf(rng, _MARKETPLACES, rows, 1.6),
        "product_category": np.where(rng.random(rows) < NICHE_SHARE, niche, _draw_zipf(rng, _PRODUCTS, rows, 0.8)),
        "seller_tier": rng.choice(list(_TIER_SHARES), rows, p=list(_TIER_SHARES.values())),
        "order_value": rng.lognormal(np.log(45), 0.9, rows).round(2),
        "days_since_order": np.ceil(rng.lognormal(np.log(18), 0.8, rows)),
        "buyer_orders": np.floor(rng.lognormal(np.log(6), 1.1, rows)),
        "seller_rating": (5 - rng.gamma(2.0, 0.4, rows)).clip(1, 5).round(2),
    }
    for name in NUMBERS[:3]:
        columns[name] = np.where(rng.random(rows) < OUTLIER_SHARE, columns[name] * 100, columns[name])
    for name, share in _MISSING_SHARES.items():
        missing = rng.random(rows) < share
        if name in CATEGORIES:
            columns[name] = columns[name].astype(object)
        columns[name][missing] = None if name in CATEGORIES else np.nan
    return columns


def compute_table_score(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the logit of the table alone, [rows]; each effect is bounded, so that no outlier decides by itself."""
    low_rating = 2.0 * (4.3 - columns["seller_rating"]).clip(-0.8, 0.8)
    effects = [
        1.5 * np.tanh(np.log(columns["order_value"] / 45)),
        -1.7 * np.tanh(np.log((columns["buyer_orders"] + 1) / 7)),
        np.nan_to_num(low_rating, nan=MISSING_RATING_EFFECT),
        np.array([TIER_EFFECT.get(tier, 0.0) for tier in columns["seller_tier"]]),
        ELECTRONICS_EFFECT * _is_electronics(columns),
    ]
    score: np.ndarray = np.nan_to_num(effects).sum(axis=0)
    return score


def compute_refund_risk(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the effect of a refund request, [rows]: from -1 (a recent order) to 1 (an old order, or electronics)."""
    age = np.nan_to_num(np.tanh(2 * np.log(columns["days_since_order"] / 20)))
    risk: np.ndarray = np.minimum(age + 0.8 * _is_electronics(columns), 1.0)
    return risk


def _is_electronics(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.isin(columns["product_category"], _ELECTRONICS.split())


def _draw_zipf(rng: np.random.Generator, words: str, rows: int, exponent: float) -> np.ndarray:
    """Return words [rows]; the k-th word has a frequency proportional to 1 / k ** exponent."""
    values = words.split()
    weights = 1.0 / np.arange(1, len(values) + 1) ** exponent
    return rng.choice(values, rows, p=weights / weights.sum())
