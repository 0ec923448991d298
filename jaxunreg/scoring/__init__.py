"""Scores at detection time: D, A and M of images, of patches and of pixels."""

from jaxunreg.scoring.aggregation import image_score
from jaxunreg.scoring.batched import reconstruct_images, score_images
from jaxunreg.scoring.each import heat_map_each, maps_each, score_each
from jaxunreg.scoring.feature_scorer import FeatureScorer
from jaxunreg.scoring.image_maps import ImageMaps
from jaxunreg.scoring.map_scorer import MapScorer
from jaxunreg.scoring.patch_stream import average_patches, map_patches
from jaxunreg.scoring.patches import PatchGrid, extract_patches, patch_grid
from jaxunreg.scoring.scorer import Scorer, decompose, fold, make_scorer
from jaxunreg.scoring.sharded import ShardedScorer, sharded_scorer
from jaxunreg.scoring.sharded_features import ShardedFeatureScorer
from jaxunreg.scoring.tiled import heat_map, score_image

__all__ = [
    "FeatureScorer",
    "ImageMaps",
    "MapScorer",
    "PatchGrid",
    "Scorer",
    "ShardedFeatureScorer",
    "ShardedScorer",
    "average_patches",
    "decompose",
    "extract_patches",
    "fold",
    "heat_map",
    "heat_map_each",
    "image_score",
    "make_scorer",
    "map_patches",
    "maps_each",
    "patch_grid",
    "reconstruct_images",
    "score_each",
    "score_image",
    "score_images",
    "sharded_scorer",
]
