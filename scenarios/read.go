package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"
)

// maxFileSize bounds a scenario file, in bytes.
const maxFileSize = 1 << 20

// readFile reads a regular file of at most maxFileSize bytes. It never opens anything else: a FIFO or a device could
// block, or never end.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, wholeFile(path, "no such file", "give the path of a scenario file, or the name of a scenario of the library")
	case err != nil:
		return nil, wholeFile(path, "can't be read: "+cause(err), "check the path and its permissions")
	case info.IsDir():
		return nil, wholeFile(path, "is a directory", "give a scenario file in it")
	case !info.Mode().IsRegular():
		return nil, wholeFile(path, "is not a regular file", "save the scenario to a file and give that")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, wholeFile(path, "can't be read: "+cause(err), "check its permissions")
	}
	defer func() { _ = f.Close() }() // opened for reading: closing can't lose anything
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, wholeFile(path, "can't be read: "+cause(err), "")
	}
	return data, nil
}

// cause is the reason of an error about a path, without the path, which the problem already names.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// asText checks that data is text as a scenario may be and returns it with plain line ends.
func asText(file string, data []byte) (string, error) {
	const saveAs = "save it as UTF-8"
	switch {
	case len(data) > maxFileSize:
		return "", wholeFile(file, fmt.Sprintf("is larger than %d MiB", maxFileSize>>20), "a scenario is a few pages of YAML")
	case looksUTF16(data):
		return "", wholeFile(file, "is UTF-16 text", saveAs)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(data)) == 0 {
		return "", wholeFile(file, "is empty", "start with apiVersion: "+APIVersion+" and kind: "+Kind)
	}
	line, column := 1, 1
	for rest := data; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			return "", &Errors{Problems: []Problem{{
				File: file, Line: line, Column: column,
				Message: fmt.Sprintf("byte 0x%02x is not UTF-8", rest[0]), Hint: saveAs,
			}}}
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return "", &Errors{Problems: []Problem{{
				File: file, Line: line, Column: column,
				Message: fmt.Sprintf("is not a text file: it has the control character 0x%02x", r), Hint: "give a scenario in YAML",
			}}}
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		rest = rest[n:]
	}
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data)), nil
}

// looksUTF16 tells UTF-16 by its byte order mark, or by every other one of its first bytes being zero.
func looksUTF16(data []byte) bool {
	if len(data) < 2 {
		return false
	}
	if data[0] == 0xff && data[1] == 0xfe || data[0] == 0xfe && data[1] == 0xff {
		return true
	}
	head := data[:min(len(data), 64)&^1]
	zeros := [2]int{}
	for i, b := range head {
		if b == 0 {
			zeros[i%2]++
		}
	}
	return zeros[0] == 0 && zeros[1] == len(head)/2 || zeros[1] == 0 && zeros[0] == len(head)/2
}
