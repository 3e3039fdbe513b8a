"""Extends a model's vocabulary by what its corrections contain: characters, words, stems and endings."""
