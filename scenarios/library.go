package scenarios

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
)

//go:embed library/*.yaml
var libraryFiles embed.FS

// Entry is one scenario of the library.
type Entry struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Library lists the scenarios that come with Meshproof, by name.
func Library() []Entry {
	names := libraryNames()
	entries := make([]Entry, len(names))
	for i, name := range names {
		entries[i] = Entry{Name: name}
		if s, err := LoadLibrary(name); err == nil { // a test loads each of them
			entries[i].Description = s.Metadata.Description
		} else {
			entries[i].Description = "can't be loaded: " + err.Error()
		}
	}
	return entries
}

// LoadLibrary loads a scenario of the library by name.
func LoadLibrary(name string) (*Scenario, error) {
	s, _, err := loadLibrary(name)
	return s, err
}

// Resolve loads the scenario file at a path or, where no such file is, the scenario of the library by that name.
func Resolve(nameOrPath string) (*Scenario, *Positions, error) {
	_, err := os.Stat(nameOrPath)
	if !errors.Is(err, fs.ErrNotExist) {
		return LoadWithPositions(nameOrPath)
	}
	return loadLibrary(nameOrPath)
}

func loadLibrary(name string) (*Scenario, *Positions, error) {
	names := libraryNames()
	if name == "" {
		return nil, nil, wholeFile(`""`, "is no name", "give a scenario file, or a name that meshproof list shows")
	}
	if !slices.Contains(names, name) {
		hint := "the library has " + strings.Join(names, ", ")
		if n := nearest(name, names); n != "" {
			hint = "did you mean " + n + "? The library has " + strings.Join(names, ", ")
		}
		return nil, nil, wholeFile(name, "no such file, and no scenario of the library", hint)
	}
	file := "library/" + name + ".yaml"
	data, err := libraryFiles.ReadFile(file)
	if err != nil {
		return nil, nil, wholeFile(file, "can't be read: "+cause(err), "")
	}
	return parse(file, data, nil)
}

func libraryNames() []string {
	files, err := fs.Glob(libraryFiles, "library/*.yaml")
	if err != nil {
		return nil // the pattern is well-formed
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(f, "library/"), ".yaml")
	}
	slices.Sort(files)
	return files
}
