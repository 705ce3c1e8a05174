"""Statistics of many flows, with those that the horizon cut off counted as censored.

Works on arrays and labelled arrays alone; imports no other room of analysis but tables.
"""
