package scenarios

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ProfileSyntax says how a profile is written on a command line, for help texts.
const ProfileSyntax = `A profile is one or more stages, joined by +. Rates are requests per second, with or without /s:
  constant:100/s,30s                 100 per second for 30 seconds
  ramp:0..500,1m                     from 0 to 500 in a straight line
  spike:50^800,20s                   from 50 to 800 at half the time, and back
  steps:100,50,10s,1m                100, then 50 more every 10 seconds
  sine:100~50,10s,1m                 100 and up to 50 more or less, one swing in 10 seconds
  bursts:20^400,1s/5s,1m             400 for the first second of every 5, else 20 (left out: else nothing)
  replay:rates.csv,x2,10m            a recorded series (CSV with time,rate, or Prometheus' JSON), rates doubled, in 10 minutes
  users:20,200ms,30s                 closed loop: 20 users who think for 200ms, also exponential(200ms) or uniform(200ms)
NAME=STAGE names a phase, 3x(STAGES) repeats stages, and poisson(PROFILE) lets requests arrive by chance, with the profile as
their mean. FILE.yaml is a file with a profile.`

// maxShort bounds the text of a profile, and the stages that it repeats.
const (
	maxShort  = 10_000 // bytes
	maxStages = 1000
)

// ParseProfile reads a profile as ProfileSyntax has it, and fills in its defaults. Files that it names are read. What is
// wrong with it comes back as *Errors, with the column in the text.
func ParseProfile(text string) (Profile, error) {
	if ext := strings.ToLower(filepath.Ext(strings.TrimSpace(text))); ext == ".yaml" || ext == ".yml" {
		return LoadProfile(strings.TrimSpace(text))
	}
	return parseShort(text, readFile)
}

func parseShort(text string, open opener) (Profile, error) {
	d := newDecoder("profile")
	d.positions.places[""] = place{1, 1}
	if !utf8.ValidString(text) {
		return Profile{}, wholeFile("profile", "is not UTF-8", "write it in plain letters")
	}
	if len(text) > maxShort {
		return Profile{}, wholeFile("profile", fmt.Sprintf("is longer than %d bytes", maxShort), "write it to a file: FILE.yaml")
	}
	s := &shortParser{text: text, d: d}
	p := Profile{}
	s.space()
	if poisson := "poisson("; strings.HasPrefix(text[s.at:], poisson) {
		p.Arrivals = ArrivalsPoisson
		d.positions.places["arrivals"] = place{1, s.column(s.at)}
		s.at += len(poisson)
		p.Stages = s.stages(1)
		s.expect(')')
	} else {
		p.Stages = s.stages(0)
	}
	s.space()
	if len(d.problems) == 0 && s.at < len(text) {
		s.problem(s.at, fmt.Sprintf("%s is left over", quote(text[s.at:])), "stages are joined by +")
	}
	if len(d.problems) == 0 {
		for i, at := range s.places {
			s.place(fmt.Sprintf("stages[%d]", i), at)
		}
		return finished(p, d, open)
	}
	return Profile{}, asErrors(d.problems)
}

// finished reads the series of a profile that stands by itself, fills in its defaults and judges it.
func finished(p Profile, d *decoder, open opener) (Profile, error) {
	d.replaysOf("", &p, open)
	p.Default()
	newValidator(new(Scenario), d).profile("", &p)
	if err := asErrors(d.problems); err != nil {
		return Profile{}, err
	}
	return p, nil
}

// shortParser reads the short form from left to right. After the first problem what it returns means nothing.
type shortParser struct {
	text   string
	at     int
	d      *decoder
	places []int // where each stage stands
}

func (s *shortParser) problem(at int, message, hint string) {
	if len(s.d.problems) == 0 {
		s.d.problems = append(s.d.problems, Problem{File: s.d.positions.File, Line: 1, Column: s.column(at), Message: message, Hint: hint})
	}
}

// column is the column, in characters from 1, of a byte of the text.
func (s *shortParser) column(at int) int { return len([]rune(s.text[:min(at, len(s.text))])) + 1 }

// place says where a stage, and whatever in it is missing, stands.
func (s *shortParser) place(path string, at int) {
	p := place{1, s.column(at)}
	s.d.positions.places[path] = p
	s.d.positions.places[path+".rate"] = p // no short form leaves out a rate that it needs
}

func (s *shortParser) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\t' || s.text[s.at] == '\n') {
		s.at++
	}
}

func (s *shortParser) expect(c byte) {
	s.space()
	if s.at >= len(s.text) || s.text[s.at] != c {
		s.problem(s.at, fmt.Sprintf("a %q is missing", c), "close what was opened")
		return
	}
	s.at++
}

var (
	repeated  = regexp.MustCompile(`^([0-9]{1,4})x\(`)
	shortName = regexp.MustCompile(`^([A-Za-z0-9-]+)=`)
)

// stages reads stages joined by +, within so many brackets.
func (s *shortParser) stages(depth int) []Stage {
	var out []Stage
	for len(s.d.problems) == 0 {
		s.space()
		rest := s.text[s.at:]
		if m := repeated.FindStringSubmatch(rest); m != nil && depth < 8 {
			out = append(out, s.repeat(m, depth)...)
		} else {
			s.places = append(s.places, s.at)
			out = append(out, s.stage())
		}
		if len(out) > maxStages {
			s.problem(s.at, fmt.Sprintf("there are more than %d stages", maxStages), "repeat them less often")
		}
		s.space()
		if s.at >= len(s.text) || s.text[s.at] != '+' {
			break
		}
		s.at++
	}
	return out
}

// repeat reads the stages of 3x(…). Names get the number of the round, so that phases can be told apart.
func (s *shortParser) repeat(m []string, depth int) []Stage {
	at, before := s.at, len(s.places)
	n, err := strconv.Atoi(m[1])
	s.at += len(m[0])
	group := s.stages(depth + 1)
	s.expect(')')
	switch {
	case len(s.d.problems) > 0:
		return nil
	case err != nil || n < 1 || n*len(group) > maxStages:
		s.problem(at, fmt.Sprintf("%s times %d stages are too few or too many", m[1], len(group)), fmt.Sprintf("1 to %d stages", maxStages))
		return nil
	}
	places := s.places[before:]
	s.places = s.places[:before:before]
	var out []Stage
	for i := range n {
		s.places = append(s.places, places...)
		for _, st := range group {
			if st.Name != "" {
				st.Name = fmt.Sprintf("%s-%d", st.Name, i+1)
			}
			out = append(out, st)
		}
	}
	return out
}

// stage reads one stage: an optional name, a shape and its arguments.
func (s *shortParser) stage() Stage {
	var st Stage
	if m := shortName.FindStringSubmatch(s.text[s.at:]); m != nil {
		st.Name = m[1]
		s.at += len(m[0])
	}
	start := s.at
	shape, rest, colon := strings.Cut(s.text[s.at:], ":")
	if _, known := shortExample(shape); !colon || !known {
		word := strings.FieldsFunc(s.text[s.at:]+" ", func(r rune) bool { return strings.ContainsRune(":+() ,", r) })
		names := make([]string, len(shortExamples))
		for i, e := range shortExamples {
			names[i], _, _ = strings.Cut(e, ":")
		}
		hint := "use " + oneOf(names) + ", each with a colon"
		if len(word) > 0 {
			if n := nearest(word[0], names); n != "" {
				hint = "did you mean " + n + ":?"
			}
			s.problem(start, quote(word[0])+" is not a shape of a stage", hint)
		} else {
			s.problem(start, "a stage is missing", hint)
		}
		return st
	}
	// The arguments end where the stage does: at a +, or at a bracket that was not opened in it.
	end, open := len(rest), 0
	for i := 0; i < len(rest) && end == len(rest); i++ {
		switch rest[i] {
		case '(':
			open++
		case ')':
			open--
			if open < 0 {
				end = i
			}
		case '+':
			end = i
		}
	}
	s.at += len(shape) + 1
	a := &shortArgs{s: s, shape: shape}
	at := s.at
	for _, arg := range strings.Split(rest[:end], ",") {
		a.args, a.places = append(a.args, strings.TrimSpace(arg)), append(a.places, at)
		at += len(arg) + 1
	}
	s.at += end
	a.stage(&st)
	if a.next < len(a.args) {
		a.s.problem(a.places[a.next], quote(a.args[a.next])+" is one argument too many", a.hint())
	}
	return st
}
