from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.render.tables import MAX_COLUMNS, MAX_ROWS, markdown_table

PARSER = MarkdownIt("gfm-like", {"linkify": False})
PANDAS = """<div><style scoped>.dataframe {color: red}</style>
<table border="1" class="dataframe"><thead>
<tr style="text-align: right;"><th></th><th>name</th><th>a|b</th></tr></thead>
<tbody><tr><th>0</th><td>A &amp; B</td><td><b>1</b></td></tr>
<tr><th>1</th><td>&lt;script&gt;</td><td>*2*</td></tr></tbody>
</table><p>2 rows × 2 columns</p></div>"""


def cells(markdown: str) -> list[str]:
    return [
        "".join(child.content for child in token.children or ())
        for token in PARSER.parse(markdown)
        if token.type == "inline"
    ]


def test_a_data_frame_becomes_a_table_with_its_shape_below() -> None:
    table = markdown_table(PANDAS)
    assert table is not None
    assert cells(table) == ["", "name", "a|b", "0", "A & B", "1", "1", "<script>", "*2*", "2 rows × 2 columns"]
    assert "<script>" not in PARSER.render(table)


def test_of_a_long_table_the_first_rows_are_shown_and_its_size_is_told() -> None:
    table = markdown_table("<table>" + "<tr>" + "<td>x</td>" * 50 + "</tr>" + "<tr><td>x</td></tr>" * 99 + "</table>")
    assert table is not None
    assert len(table.split("\n")) == MAX_ROWS + 4
    assert f"100 rows x {MAX_COLUMNS} columns" in cells(table)[-1]


def test_what_holds_no_table_is_none() -> None:
    assert markdown_table("<b>bold</b>") is None
    assert markdown_table("<!-- <table><tr><td>x</td></tr></table>") is None


def test_a_table_in_a_cell_is_its_text() -> None:
    table = markdown_table("<table><tr><td>a<table><tr><td>b</td></tr></table>c</td><td>d</td></tr></table>")
    assert table is not None
    assert cells(table)[-2:] == ["abc", "d"]


@given(
    st.lists(
        st.sampled_from(
            ["<table>", "</table>", "<tr>", "<td>", "</td>", "<th colspan=9>", "<!--", "-->", "a|`", "<", "\n", "&lt;"]
        ),
        max_size=30,
    )
)
def test_whatever_html_comes_the_table_is_one_table(parts: list[str]) -> None:
    table = markdown_table("".join(parts))
    if table is not None:
        types = [token.type for token in PARSER.parse(f"{table}\n\nafter") if token.level == 0 and token.nesting > 0]
        assert types[0] == "table_open"
        assert types[1:] in (["paragraph_open"], ["paragraph_open", "paragraph_open"])
