"""The subcommands of ``minidl``: each is a file with a ``parser`` and a ``main``, and a line here."""

COMMANDS = {
    "train": "train a net of the paper on a data set",
    "reproduce": "train the rows of a table of the paper and compare the results with the paper's",
    "report": "write an HTML page that shows what runs did",
    "walk": "go through Algorithm 1 with one batch and show what every hook does",
    "compare": "train with several methods, all else equal, and compare the results",
    "gradcheck": "check the gradients of layers and nets, and explain those that are wrong",
    "predict": "classify or segment pictures with a trained net, and draw them",
    "export": "write a trained net as a file that other programs read",
}
