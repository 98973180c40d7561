"""The conformance kit: does another implementation do what `decoding.reference` does?"""
