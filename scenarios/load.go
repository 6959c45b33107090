package scenarios

import (
	"path/filepath"
	"reflect"
)

// Load reads a scenario file strictly and fills in the defaults. What is wrong with the file comes back as *Errors,
// all of it at once.
func Load(path string) (*Scenario, error) {
	s, _, err := LoadWithPositions(path)
	return s, err
}

// LoadWithPositions is Load, and says where in the file each field stands.
func LoadWithPositions(path string) (*Scenario, *Positions, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	return parse(path, data, besides(path))
}

// Parse is Load for a file that is already in memory. The name is only used in errors, and no other file is read.
func Parse(filename string, data []byte) (*Scenario, error) {
	s, _, err := parse(filename, data, nil)
	return s, err
}

// maxJudged is the number of unreadable fields beyond which the whole is not judged: it would only be guessing.
const maxJudged = 1000

// opener reads a file that a scenario names.
type opener func(name string) ([]byte, error)

// besides opens files seen from the folder of a scenario's file.
func besides(path string) opener {
	return func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return readFile(name)
	}
}

func parse(file string, data []byte, open opener) (*Scenario, *Positions, error) {
	text, err := asText(file, data)
	if err != nil {
		return nil, nil, err
	}
	root, err := parseYAML(file, text)
	if err != nil {
		return nil, nil, err
	}
	d := newDecoder(file)
	if err := d.header(root); err != nil {
		return nil, nil, err
	}
	s := d.scenario(root)
	d.replays(s, open)
	s.Default()
	if len(d.problems) <= maxJudged {
		newValidator(s, d).validate()
	}
	if err := asErrors(d.problems); err != nil {
		return nil, nil, err
	}
	return s, d.positions, nil
}

// LoadProfile reads a file that has nothing but a profile (stages, arrivals) as strictly as a scenario, and fills in the
// defaults. What is wrong with it comes back as *Errors.
func LoadProfile(path string) (Profile, error) {
	data, err := readFile(path)
	if err != nil {
		return Profile{}, err
	}
	return parseProfileFile(path, data, besides(path))
}

func parseProfileFile(file string, data []byte, open opener) (Profile, error) {
	text, err := asText(file, data)
	if err != nil {
		return Profile{}, err
	}
	root, err := parseYAML(file, text)
	if err != nil {
		return Profile{}, err
	}
	d := newDecoder(file)
	d.place("", root, nil)
	var p Profile
	d.decode(root, "", reflect.ValueOf(&p).Elem(), limits{})
	return finished(p, d, open)
}

// LoadProfiles reads the profiles of a file or of a scenario of the library: those of a scenario's traffic, or, where a file
// has stages and no kind, the one that it has, of a traffic without a name.
func LoadProfiles(nameOrPath string) ([]Traffic, error) {
	if data, err := readFile(nameOrPath); err == nil && profileAlone(nameOrPath, data) {
		p, err := parseProfileFile(nameOrPath, data, besides(nameOrPath))
		return []Traffic{{Profile: p}}, err
	}
	s, _, err := Resolve(nameOrPath)
	if err != nil {
		return nil, err
	}
	return s.Spec.Traffic, nil
}

// profileAlone reports whether a file has stages and is of no kind.
func profileAlone(file string, data []byte) bool {
	text, err := asText(file, data)
	if err != nil {
		return false
	}
	root, err := parseYAML(file, text)
	if err != nil {
		return false
	}
	m, _ := entries(root)
	names := map[string]bool{}
	for _, e := range m {
		key, _ := keyName(e.Key)
		names[key] = true
	}
	return names["stages"] && !names["kind"] && !names["apiVersion"]
}
