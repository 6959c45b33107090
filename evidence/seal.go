package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Seal closes a record: the hash of every file, and one hash over these.
type Seal struct {
	SchemaVersion string       `json:"schemaVersion"`
	Sealed        time.Time    `json:"sealed"`
	Files         []SealedFile `json:"files"`
	Root          string       `json:"root"` // sha256 over "<sha256>  <name>\n" of every file in the order of names
}

// SealedFile is one file of a sealed record.
type SealedFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func (s *Seal) root() string {
	h := sha256.New()
	for _, f := range s.Files {
		fmt.Fprintf(h, "%s  %s\n", f.SHA256, f.Name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// recordFiles lists the files that a seal covers, by name.
func recordFiles(dir string) ([]string, error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range es {
		if n := e.Name(); n == manifestFile || strings.HasSuffix(n, ".jsonl") {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	return names, nil
}

// checkSeal reads the seal of a record and holds it against the files. It reports whether there is one, and what is
// wrong with it.
func checkSeal(dir string) (sealed bool, root string, problems []string) {
	b, err := os.ReadFile(filepath.Join(dir, sealFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, "", nil
	}
	if err != nil {
		return false, "", []string{fmt.Sprintf("seal: %v", err)}
	}
	var s Seal
	if err := json.Unmarshal(b, &s); err != nil {
		return false, "", []string{fmt.Sprintf("seal: not readable: %v", err)}
	}
	if got := s.root(); got != s.Root {
		problems = append(problems, "seal: its own hash does not match its list of files")
	}
	names, err := recordFiles(dir)
	if err != nil {
		return true, s.Root, append(problems, fmt.Sprintf("seal: %v", err))
	}
	there := map[string]bool{}
	for _, n := range names {
		there[n] = true
	}
	for _, f := range s.Files {
		if !there[f.Name] {
			problems = append(problems, fmt.Sprintf("seal: %s is missing", f.Name))
			continue
		}
		delete(there, f.Name)
		h, n, err := hashFile(filepath.Join(dir, f.Name))
		switch {
		case err != nil:
			problems = append(problems, fmt.Sprintf("seal: %v", err))
		case n != f.Bytes || h != f.SHA256:
			problems = append(problems, fmt.Sprintf("seal: %s was changed after it was sealed", f.Name))
		}
	}
	for _, n := range names {
		if there[n] {
			problems = append(problems, fmt.Sprintf("seal: %s was added after it was sealed", n))
		}
	}
	return true, s.Root, problems
}
