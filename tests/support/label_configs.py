"""Label configs as people write them."""

IMAGE = '<Image name="image" value="$image"/>'


def label_config(*tags: str, images: str = IMAGE) -> str:
    """One of these tags; a bare word is a text box of that name, which describes `image`."""
    written = [tag if tag.startswith("<") else f'<TextArea name="{tag}" toName="image"/>' for tag in tags]
    return f"<View>{images}{''.join(written)}</View>"
