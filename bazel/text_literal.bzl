"""text_literal: a file as a string of C++."""

def text_literal(name, src, out):
    """Writes `out`, a raw string literal of what `src` holds, to be included as an initializer.

    Args:
      name: the target's name.
      src: the text; it must not hold the closing delimiter, )__text".
      out: the file that is included.
    """
    native.genrule(
        name = name,
        srcs = [src],
        outs = [out],
        cmd = "(echo 'R\"__text('; cat $<; echo ')__text\"') > $@",
    )
