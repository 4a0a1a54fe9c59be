//! One adapter trait over SOAP/XML, framed TCP and REST/JSON, with an error taxonomy that a saga can act on.
