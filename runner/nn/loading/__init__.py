"""Loaders: data sets, served minibatch by minibatch."""
