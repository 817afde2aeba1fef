"""Building blocks of architectures: the data contract, pooling, table embeddings, towers, heads and plugin recipes.

Import each name from its module, for example `from fusionzoo.nn.towers import Towers`.
"""
