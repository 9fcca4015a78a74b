"""Program. What a module belongs to that is not installed: said in a note on ``ModuleNotFoundError``, and by pip."""

from __future__ import annotations

from typing import Final

#: Modules of the set ``full`` (sets/full.in) that ``core`` has not, and the names they are installed by.
FULL: Final = {
    "bokeh": "bokeh",
    "catboost": "catboost",
    "chardet": "chardet",
    "cryptography": "cryptography",
    "cv2": "opencv-python-headless",
    "docx": "python-docx",
    "duckdb": "duckdb",
    "faker": "faker",
    "fitz": "pymupdf",
    "folium": "folium",
    "geopandas": "geopandas",
    "h5py": "h5py",
    "html5lib": "html5lib",
    "ics": "ics",
    "imageio": "imageio",
    "imblearn": "imbalanced-learn",
    "librosa": "librosa",
    "lightgbm": "lightgbm",
    "missingno": "missingno",
    "nest_asyncio": "nest-asyncio",
    "nltk": "nltk",
    "numba": "numba",
    "odf": "odfpy",
    "pdfplumber": "pdfplumber",
    "plotnine": "plotnine",
    "polars": "polars",
    "pptx": "python-pptx",
    "py7zr": "py7zr",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
    "pymupdf": "pymupdf",
    "pypdf": "pypdf",
    "pytest": "pytest",
    "pytz": "pytz",
    "qrcode": "qrcode",
    "regex": "regex",
    "reportlab": "reportlab",
    "rich": "rich",
    "shap": "shap",
    "shapely": "shapely",
    "skimage": "scikit-image",
    "soundfile": "soundfile",
    "sqlalchemy": "sqlalchemy",
    "squarify": "squarify",
    "textblob": "textblob",
    "vl_convert": "vl-convert-python",
    "wordcloud": "wordcloud",
    "xgboost": "xgboost-cpu",
    "xlrd": "xlrd",
    "zstandard": "zstandard",
}


def note(module: str | None) -> str | None:
    """Which set of libraries has the module."""
    top = (module or "").partition(".")[0]
    if top not in FULL:
        return None
    return f"{top} is not installed in this sandbox; it is in the library set `full`"
