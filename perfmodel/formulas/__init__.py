"""Published formulas, one function each, on floats, arrays and symbols alike.

roofline (one operator), collectives, all_reduce, exchange and torus (messages), pipeline, memory, training, queueing.
"""
