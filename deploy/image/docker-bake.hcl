# The image of `sociable`, for both architectures, of what `cargo xtask image` has built.
target "default" {
  context   = "."
  platforms = ["linux/amd64", "linux/arm64"]
  tags      = ["ghcr.io/sociable/sociable:0.1.0"]
}
