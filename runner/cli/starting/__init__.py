"""What begins something: `veles-run new`, a conf for data; `examples`, files to try; `import`, a configuration of VELES."""
