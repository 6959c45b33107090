package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// sticky remembers the first failure to write, so that a command whose output was lost does not end with 0.
type sticky struct {
	w   io.Writer
	err error
}

func (s *sticky) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

// terminal is the terminal that w writes to; nil where there is none, or one that can't do more than lines.
func terminal(w io.Writer) *os.File {
	if s, ok := w.(*sticky); ok {
		w = s.w
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return f
}

// columns is the width of the terminal that w writes to; 100 where there is none.
func columns(w io.Writer) int {
	if f := terminal(w); f != nil {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n >= 20 {
			return n
		}
	}
	return 100
}

// wrap breaks a text into lines of at most width runes, at spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// cause is why a file operation failed, without the operation and the path, which the message around it names.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// strconvTail is how Go's strconv names its functions in errors; users need not know them.
var strconvTail = regexp.MustCompile(`: strconv\.\w+: parsing "[^"]*": `)

// badFlag makes a message about a flag end with where to look.
func badFlag(cmd *cobra.Command, err error) error {
	msg := strconvTail.ReplaceAllString(err.Error(), ": ")
	msg = strings.Replace(msg, ": invalid syntax", ": not a whole number", 1)
	return fmt.Errorf("%s (see %s --help)", msg, cmd.CommandPath())
}

// takes wants between low and high arguments, and says in the words of the command's usage what is missing; high < 0
// is no bound.
func takes(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		switch {
		case len(got) < low:
			return fmt.Errorf("something is missing: the usage is: %s", cmd.UseLine())
		case high >= 0 && len(got) > high:
			return fmt.Errorf("%q is too much: the usage is: %s", got[high], cmd.UseLine())
		}
		return nil
	}
}
