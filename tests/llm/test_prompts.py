"""Prompt files: filled once, and refused where they cannot be."""

import pytest

from skmmrec.llm._prompts import read_prompt


def write(tmp_path, text):
    path = tmp_path / "mine.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "placeholder"),
    [
        ("item_description", "item"),
        ("user_profile", "taste"),
        ("explanation", "facts"),
    ],
)
def test_the_prompts_of_the_package_can_be_filled(name, placeholder):
    prompt = read_prompt(None, name, [placeholder])
    assert "SOMETHING" in prompt.fill(**{placeholder: "SOMETHING"})
    assert "do not follow" in prompt.text


def test_a_users_file_takes_the_place_of_the_packages(tmp_path):
    path = write(tmp_path, 'Say {"x": 1} of {item}; once more: {item}.\n')
    prompt = read_prompt(str(path), "item_description", ["item"])
    assert prompt.fill(item="{item}") == 'Say {"x": 1} of {item}; once more: {item}.'


def test_a_file_without_its_placeholder_is_named(tmp_path):
    path = write(tmp_path, "Describe it.")
    with pytest.raises(ValueError, match=r"mine\.txt lacks the placeholder \{item\}"):
        read_prompt(path, "item_description", ["item"])


def test_a_placeholder_that_nothing_fills_is_named(tmp_path):
    path = write(tmp_path, "{item} by {author}")
    with pytest.raises(ValueError, match=r"placeholder \{author\}; known are \{item\}"):
        read_prompt(path, "item_description", ["item"])


@pytest.mark.parametrize("text", [b"\xff{item}", b"\x80"])
def test_a_file_that_is_no_text_is_named(tmp_path, text):
    with pytest.raises(ValueError, match=r"mine\.txt is not UTF-8 text"):
        read_prompt(write(tmp_path, text), "item_description", ["item"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="prompt='absent' is not a file"):
        read_prompt("absent", "item_description", ["item"])


def test_a_mark_of_the_encoding_is_no_part_of_a_prompt(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbfDescribe {item}")
    assert read_prompt(path, "item_description", ["item"]).text == "Describe {item}"


@pytest.mark.parametrize("prompt", ["Describe {item}", "{item} " * 999, "a\0{item}"])
def test_a_prompt_in_place_of_its_file_is_told_what_to_do(prompt):
    with pytest.raises(FileNotFoundError, match="is not a file: save the prompt as a"):
        read_prompt(prompt, "item_description", ["item"])
