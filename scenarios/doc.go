// Package scenarios is the language in which experiments are written: its types, strict loading from YAML with every
// error at once, the JSON Schema for editors, and a library of ready scenarios.
//
// Loading refuses what it does not understand. A field that is misspelt, or whose check does not exist yet, is an
// error and never ignored: a check that silently did not run would look like one that passed.
//
// The way of a file: readFile bounds what is read; tokenize refuses what could exhaust the parser; the decoder walks
// the syntax tree into the types and remembers where everything stood; Default fills in what was left out; the
// validator checks what only the whole can tell.
package scenarios
