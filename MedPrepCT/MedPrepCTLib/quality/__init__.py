"""Hounsfield units and grids: are they what they should be?"""
