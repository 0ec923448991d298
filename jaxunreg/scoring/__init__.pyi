"""The public names of `jaxunreg.scoring`, each imported when it is first asked for."""

from .aggregation import image_score
from .batched import reconstruct_images, score_images
from .each import heat_map_each, maps_each, score_each
from .feature_scorer import FeatureScorer
from .image_maps import ImageMaps
from .map_scorer import MapScorer
from .patch_stream import average_patches, map_patches
from .patches import PatchGrid, extract_patches, patch_grid
from .scorer import Scorer, decompose, fold, make_scorer
from .sharded import ShardedScorer, sharded_scorer
from .sharded_features import ShardedFeatureScorer
from .tiled import heat_map, score_image

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
