"""Files for LiteRT: the graph, its 8 bits, its bytes and their check."""
