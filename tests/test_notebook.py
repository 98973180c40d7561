"""What a notebook shows of networks and measurements: tables with the right numbers, whose texts are escaped for HTML."""

import html.parser

import numpy as np

import decoding
from decoding import Conv, Network, ReLU
from decoding.evaluation import ReconstructionError, ResponseMatrix, TopImages


class Table(html.parser.HTMLParser):
    """The rows of a table; every tag is closed by the one that closes it."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open, self.tags, self.rest = [], [], set(), ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        else:
            self.rest += data


def test_a_network_is_its_table(lenet):
    table = Table(lenet._repr_html_())
    assert [" ".join(filter(None, row)) for row in table.rows] == [
        " ".join(line.split()) for line in str(lenet).split("\n")
    ]


def test_names_and_notes_are_escaped():
    hostile = '<script>alert("x")</script>'
    net = Network([Conv(np.ones((1, 1, 1, 1)), name=hostile), ReLU()], notes=[hostile])
    table = Table(net._repr_html_())
    assert "script" not in table.tags
    assert table.rows[2][1].startswith("<script>")
    assert hostile in table.rest


def test_an_error_is_one_row():
    error = ReconstructionError(np.array([0.25, 0.75]), np.array([1.0, 0.5]))
    assert Table(error._repr_html_()).rows[1] == ["0.5000", "0.2500", "0.750", "2"]


def test_top_images_of_one_unit_and_of_several():
    one = TopImages(np.array([7, 3]), np.array([2.5, 1.0]))
    assert Table(one._repr_html_()).rows[1:] == [["1", "7", "2.5"], ["2", "3", "1"]]
    several = TopImages(np.array([[7, 3], [0, 1]]), np.array([[2.5, 1.0], [9.0, 8.0]]))
    assert Table(several._repr_html_()).rows == [["unit", "1", "2"], ["0", "7 (2.5)", "3 (1)"], ["1", "0 (9)", "1 (8)"]]
    many = TopImages(np.zeros((500, 60), int), np.zeros((500, 60)))
    table = Table(many._repr_html_())
    assert (len(table.rows), len(table.rows[0])) == (51, 51)
    assert "50 of 500 units" in table.rest
    assert "50 of 60 images" in table.rest


def test_a_response_matrix_marks_its_maxima():
    found = ResponseMatrix(np.array([[3, 1], [4, 2]]), np.array([10, 20]), np.array([5, 6]), 0.5)
    table = Table(found._repr_html_())
    assert table.rows == [["filter", "image 10, a 5", "image 20, a 6"], ["0", "3*", "1"], ["1", "4*^", "2^"]]
    assert "50.0%" in table.rest
    without = ResponseMatrix(np.zeros((60, 60)), np.arange(60), None, None)
    table = Table(without._repr_html_())
    assert (len(table.rows), len(table.rows[0])) == (51, 51)
    assert "%" not in table.rest


def test_a_network_that_branches_says_what_each_layer_reads():
    assert "reads" in Table(decoding.resnet()._repr_html_()).rows[0]
