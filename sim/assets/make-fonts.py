#!/usr/bin/env python3
"""Makes the two fonts beside this file from DejaVu Sans. Needs fonttools.

    make-fonts.py /usr/share/fonts/truetype/dejavu

Only the signs that plots use are kept. Each glyph then gets a point without area at the left end of its advance:
the drawing library places a glyph's ink, not its origin, and letters would stand unevenly otherwise.
"""
import pathlib
import sys

from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables._g_l_y_f import GlyphCoordinates

SIGNS = [*range(0x20, 0x7F), *range(0xA0, 0x100), 0x3BC, 0x2013, 0x2014, *range(0x2018, 0x201E), 0x2022, 0x2026,
         *range(0x2190, 0x2194), 0x2212, 0x221E, 0x2260, 0x2264, 0x2265]

for name in ["DejaVuSans", "DejaVuSans-Bold"]:
    font = TTFont(pathlib.Path(sys.argv[1]) / f"{name}.ttf", recalcTimestamp=False)
    options = subset.Options(layout_features=[], hinting=False, drop_tables=["FFTM"])
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=SIGNS)
    subsetter.subset(font)
    glyphs = font["glyf"]
    for glyph_name in font.getGlyphOrder():
        glyph = glyphs[glyph_name]
        if glyph.numberOfContours == 0:
            continue
        coordinates, ends, flags = glyph.getCoordinates(glyphs)
        left = min(0, *(x for x, _ in coordinates))
        lowest = min(y for _, y in coordinates)
        glyph.__dict__.pop("components", None)
        glyph.numberOfContours = len(ends) + 1
        glyph.coordinates = GlyphCoordinates([*coordinates, *[(left, lowest)] * 3])
        glyph.flags = flags + bytearray([1, 1, 1])
        glyph.endPtsOfContours = [*ends, len(coordinates) + 2]
        if not hasattr(glyph, "program"):
            from fontTools.ttLib.tables import ttProgram
            glyph.program = ttProgram.Program()
            glyph.program.fromBytecode([])
        glyph.recalcBounds(glyphs)
        font["hmtx"][glyph_name] = (font["hmtx"][glyph_name][0], glyph.xMin)
    font.save(pathlib.Path(__file__).with_name(f"{name}-Latin.ttf"))
