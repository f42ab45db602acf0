@rem npm runs scripts with cmd.exe on Windows, which has no "exec"; elsewhere it hands npm's signals to the server.
@%*
