import numpy as np

from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.map_graph import MERGED, loop_pairs, submap_numbers
from flashvggt_ros.mapping.pose_graph import PoseGraph


def graph_of(*pairs, nodes=(0, 1, 2, 5)):
    graph = PoseGraph()
    for node in nodes:
        graph.add(Sim3.identity(), node)
    for first, second in pairs:
        graph.add_between(first, second, Sim3.identity(), np.eye(7), is_robust=False)
    graph.set_scale(nodes[0], 1.0, 0.1)
    return graph


def test_submaps_that_follow_each_other_close_no_loop_also_where_others_were_merged():
    assert loop_pairs(graph_of((0, 1), (1, 2), (2, 5))).tolist() == []


def test_each_pair_of_submaps_that_meet_again_is_one_loop():
    graph = graph_of((0, 1), (1, 2), (2, 5), (5, 0), (0, 5), (0, 2))
    assert loop_pairs(graph).tolist() == [[0, 2], [0, 5]]


def test_keyframes_of_no_submap_are_of_merged_ones():
    assert submap_numbers([1, 2], []).tolist() == [MERGED, MERGED]
