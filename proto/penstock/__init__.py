"""The wire contract: .proto files with their generated modules beside them."""
