package scenarios

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on what the parser gets to see. It recurses on nesting, keeps the path of every node as a string, and copies
// the list of tokens for each entry of a mapping, so depth, paths and tokens each need a bound of their own.
const (
	maxIndicators = 200_000  // bytes that may each become a token
	maxTokens     = 50_000   //
	maxDepth      = 64       // nested lists and mappings
	maxPathBytes  = 16 << 20 // the lengths of all paths together
)

// parseYAML parses text into the one document in it. Problems of syntax come back as *Errors.
func parseYAML(file, text string) (body ast.Node, err error) {
	// The last guard: a bug of the library on some input must not become the user's stack trace.
	defer func() {
		if r := recover(); r != nil {
			body, err = nil, wholeFile(file, fmt.Sprintf("is not YAML that can be read: %v", r), "simplify it until it is")
		}
	}()
	toks, err := tokenize(file, text)
	if err != nil {
		return nil, err
	}
	f, err := parser.Parse(toks, 0, parser.AllowDuplicateMapKey())
	var syntax *yaml.SyntaxError
	switch {
	case errors.As(err, &syntax):
		message, hint := syntax.Message, "check indentation, quotes and brackets"
		if strings.Contains(message, "'\t'") {
			message, hint = "a line begins with a tab", "indent with spaces"
		}
		return nil, &Errors{Problems: []Problem{at(file, syntax.Token, "is not YAML: "+message, hint)}}
	case err != nil:
		return nil, wholeFile(file, "is not YAML: "+err.Error(), "check indentation, quotes and brackets")
	case len(f.Docs) > 1:
		tk := f.Docs[1].Start
		return nil, &Errors{Problems: []Problem{at(file, tk, "has several YAML documents", "one scenario a file: remove what comes after ---")}}
	case len(f.Docs) == 0 || f.Docs[0].Body == nil:
		return nil, wholeFile(file, "has no content", "start with apiVersion: "+APIVersion+" and kind: "+Kind)
	}
	return f.Docs[0].Body, nil
}

// tokenize splits text into tokens and refuses what could exhaust the parser, and what scenarios do without.
func tokenize(file, text string) (token.Tokens, error) {
	n := 0
	for i := range len(text) {
		if strings.IndexByte("[]{},:-?%&*!|>'\"#\n", text[i]) >= 0 {
			n++
		}
	}
	if n > maxIndicators {
		return nil, wholeFile(file, "has far too many brackets, commas, quotes or lines for a scenario", "a scenario is a few pages of YAML")
	}
	toks := lexer.Tokenize(text)
	var problems []Problem
	nest := nesting{}
	for i, tk := range toks {
		switch nest.add(tk); {
		case i >= maxTokens:
			return nil, wholeFile(file, fmt.Sprintf("has more than %d words and signs", maxTokens), "a scenario is a few pages of YAML")
		case nest.depth() > maxDepth:
			return nil, &Errors{Problems: []Problem{at(file, tk, fmt.Sprintf("nests deeper than %d levels", maxDepth), "close the brackets, or flatten it")}}
		case nest.pathBytes > maxPathBytes:
			return nil, &Errors{Problems: []Problem{at(file, tk, "has too much under names that are too long", "shorten the names")}}
		}
		if what, instead := refusedToken(tk); what != "" {
			problems = append(problems, at(file, tk, what, instead))
		}
	}
	return toks, asErrors(problems)
}

// refusedToken says which parts of YAML scenarios do without: what one reads is what one gets.
func refusedToken(tk *token.Token) (what, instead string) {
	switch tk.Type {
	case token.AnchorType:
		return "YAML anchors (&) are not allowed", "write the value out where it is used"
	case token.AliasType:
		return "YAML aliases (*) are not allowed", "write the value out; put quotes around a text that starts with a star"
	case token.MergeKeyType:
		return "YAML merge keys (<<) are not allowed", "write the fields out"
	case token.TagType:
		return "YAML tags (!) are not allowed", "remove it; put quotes around a text that starts with an exclamation mark"
	case token.MappingKeyType:
		return "YAML complex keys (?) are not allowed", "write key: value"
	case token.DirectiveType:
		return "YAML directives (%) are not allowed", "remove the line"
	}
	return "", ""
}

// nesting follows how deep the tokens nest and how long their paths are. Each level of block style starts in a column
// further right than the one around it, except a list in a mapping, which may stand in the same one: so the depth it
// gives is at least half the real one.
type nesting struct {
	columns   []int // of the open levels in block style
	names     []int // their lengths
	flow      []int // lengths of the open levels' names in flow style
	pathBytes int
}

func (n *nesting) depth() int { return len(n.columns) + len(n.flow) }

func (n *nesting) add(tk *token.Token) {
	switch tk.Type {
	case token.SequenceStartType, token.MappingStartType:
		n.flow = append(n.flow, 0)
	case token.SequenceEndType, token.MappingEndType:
		n.flow = n.flow[:max(0, len(n.flow)-1)]
	case token.SequenceEntryType:
		n.open(tk, 0)
	case token.MappingValueType:
		if key := tk.Prev; key != nil {
			n.open(key, len(key.Value))
		}
	}
	for _, l := range n.names {
		n.pathBytes += l + 8
	}
	for _, l := range n.flow {
		n.pathBytes += l + 8
	}
}

func (n *nesting) open(tk *token.Token, name int) {
	if k := len(n.flow); k > 0 {
		n.flow[k-1] = name
		return
	}
	k := len(n.columns)
	for k > 0 && n.columns[k-1] >= tk.Position.Column {
		k--
	}
	n.columns = append(n.columns[:k], tk.Position.Column)
	n.names = append(n.names[:k], name)
}

// at is a problem at a token.
func at(file string, tk *token.Token, message, hint string) Problem {
	p := Problem{File: file, Message: message, Hint: hint}
	if tk != nil && tk.Position != nil {
		p.Line, p.Column = tk.Position.Line, tk.Position.Column
	}
	return p
}
