from ._content import Expectation as Expectation
from ._credit import choose_credit as choose_credit
from ._half_life import learn_half_life as learn_half_life
from ._item_graph import graph_of_new as graph_of_new, item_graph as item_graph
from ._noise import find_noise as find_noise
