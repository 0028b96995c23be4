module sociable.test/tardump

go 1.21
