from untrained.cli import main

main()
