"""The subcommands of ``minidl``, one a file with a ``parser`` and a ``main``; a new one is a file and a line here."""

COMMANDS = {
    "train": "train a net of the paper on a data set",
    "reproduce": "train the rows of a table of the paper and set the results beside the paper's",
    "report": "write one page of HTML that shows what runs did",
    "walk": "go through Algorithm 1 with one batch, and see what every hook does",
    "compare": "train with several methods, all else equal, and set the results side by side",
    "gradcheck": "check the gradients of layers and nets, and explain those that are wrong",
    "predict": "classify or segment pictures with a trained net, and draw them",
    "export": "write a trained net as a file that other programs read",
}
