package scenarios

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"
)

// fill repeats s up to n bytes.
func fill(s string, n int) string { return strings.Repeat(s, n/len(s)) }

func utf16Of(s string, order binary.AppendByteOrder, mark bool) string {
	var out []byte
	if mark {
		out = order.AppendUint16(out, 0xfeff)
	}
	for _, u := range utf16.Encode([]rune(s)) {
		out = order.AppendUint16(out, u)
	}
	return string(out)
}

// hostile is input that no parser should have to see, with what must be said of it.
func hostile() map[string]struct{ doc, want string } {
	const MiB = 1 << 20
	bomb := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+", ", 9), ", ") + "]\n"
	}
	deepBlock := ""
	for i := range 80 {
		deepBlock += strings.Repeat(" ", i) + "a:\n"
	}
	return map[string]struct{ doc, want string }{
		"an empty file":                   {"", "is empty"},
		"only white space":                {" \n\t\n", "is empty"},
		"only a byte order mark":          {"\ufeff", "is empty"},
		"only comments":                   {"# nothing\n", "has no content"},
		"only a document marker":          {"---\n", "has no content"},
		"a binary file":                   {"\x7fELF\x02\x01\x01\x00\x00\x00", "1:1: is not a text file"},
		"a text with NUL":                 {base + "\x00", "control character 0x00"},
		"Latin-1":                         {"name: caf\xe9\n", "1:10: byte 0xe9 is not UTF-8 (save it as UTF-8)"},
		"UTF-16 with its mark":            {utf16Of(base, binary.LittleEndian, true), "is UTF-16 text (save it as UTF-8)"},
		"UTF-16 big-endian":               {utf16Of(base, binary.BigEndian, true), "is UTF-16 text (save it as UTF-8)"},
		"UTF-16 without its mark":         {utf16Of(base, binary.LittleEndian, false), "is UTF-16 text (save it as UTF-8)"},
		"a text":                          {"hello", "is the text \"hello\" and not a mapping"},
		"a list":                          {"- a\n", "is a list and not a mapping"},
		"JSON of something else":          {`{"a": 1}`, "is not a scenario"},
		"a YAML bomb":                     {bomb, "YAML aliases (*) are not allowed"},
		"100,000 brackets":                {fill("[", 100_000), "nests deeper than 64 levels"},
		"100,000 braces":                  {fill("{a: ", 400_000), "nests deeper than 64 levels"},
		"100,000 brackets behind quotes":  {fill(`["]",`, 200_000), "nests deeper than 64 levels"},
		"brackets within a scenario":      {base + "extra: " + fill("[", 1000), "nests deeper than 64 levels"},
		"100,000 dashes":                  {fill("- ", 200_000), ""},
		"100,000 question marks":          {fill("? ", 100_000), ""},
		"100,000 tags":                    {fill("! ", 100_000), ""},
		"100,000 anchors":                 {fill("&a ", 100_000), ""},
		"80 levels of indentation":        {deepBlock, "nests deeper than 64 levels"},
		"a MiB of brackets":               {fill("[", MiB), "far too many brackets"},
		"a MiB of lines":                  {fill("a:\n", MiB), "far too many brackets"},
		"a MiB of percent signs":          {fill("%", MiB), "far too many brackets"},
		"a MiB of commas":                 {"a: [" + fill("a,", MiB-10) + "]", "far too many brackets"},
		"a MiB of spaces":                 {base + fill(" ", MiB-len(base)), ""},
		"a MiB of quotes":                 {fill("\"", MiB), "far too many"},
		"a MiB of words":                  {"a: " + fill("x ", MiB-3), "is not a scenario"},
		"a MiB of one word":               {"a: " + fill("x", MiB-3), "is not a scenario"},
		"a MiB in one name":               {fill("x", MiB-3) + ": 1", "is not a scenario"},
		"a long name with many entries":   {fill("x", 500_000) + ": [" + fill("a,", 60_000) + "]", ""},
		"a wide mapping":                  {fill("a:\n", 50_000), ""},
		"a wide mapping in braces":        {"{" + fill("a,", 50_000) + "}", ""},
		"long names within each other":    {deepNames(60, 300) + fill(strings.Repeat(" ", 60)+"- a\n", 500_000), "under names that are too long"},
		"a 10 MB scalar":                  {"description: " + fill("x", 10_000_000), "is larger than 1 MiB"},
		"one byte more than a MiB":        {fill("#", MiB) + "#", "is larger than 1 MiB"},
		"a closing bracket too many":      {"a: ]", "is not YAML"},
		"an open quote":                   {"a: \"b", "is not YAML"},
		"apiVersion of another type":      {"apiVersion: [1]\nkind: {a: b}\n", "is not a scenario"},
		"apiVersion without value":        {"apiVersion:\nkind:\n", "is not a scenario"},
		"a Kubernetes object":             {"apiVersion: apps/v1\nkind: Deployment\n", "\"apps/v1\" is not a version of scenarios"},
		"names with control characters":   {"apiVersion: meshproof/v1alpha1\nkind: Scenario\n\"a\\nb\": 1\n", `["a\nb"]`},
		"one long line of unknown fields": {"apiVersion: meshproof/v1alpha1\nkind: Scenario\nspec: {" + manyFields(9000) + "}\n", "and 8"},
	}
}

func deepNames(levels, length int) string {
	var b strings.Builder
	for i := range levels {
		b.WriteString(strings.Repeat(" ", i) + fill("n", length) + ":\n")
	}
	return b.String()
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("f" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26%50) + ": 1,")
	}
	return b.String()
}

func TestHostileInputIsRefusedInBoundedMemory(t *testing.T) {
	for name, c := range hostile() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Parse("s.yaml", []byte(c.doc))
			runtime.ReadMemStats(&after)
			if strings.HasPrefix(c.doc, base) && c.want == "" {
				if err != nil {
					t.Fatalf("a good scenario was refused: %v", err)
				}
			} else if msg := problemText(t, err); !strings.Contains(msg, c.want) {
				t.Errorf("want %q, got %.500s", c.want, msg)
			}
			// What the parser allocates in all, not at once, for the worst of what it gets to see.
			if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 3072 {
				t.Errorf("allocated %d MiB", mib)
			}
			if held := int64(after.HeapInuse) - int64(before.HeapInuse); held > 512<<20 {
				t.Errorf("holds %d MiB", held>>20)
			}
		})
	}
}

func problemText(t *testing.T, err error) string {
	t.Helper()
	problems(t, err)
	for _, bad := range []string{"goroutine ", "panic", "runtime error", ".go:"} {
		if strings.Contains(err.Error(), bad) {
			t.Errorf("the message shows the program's inside: %.500s", err)
		}
	}
	if len(err.Error()) > 100_000 {
		t.Errorf("the message has %d bytes", len(err.Error()))
	}
	return err.Error()
}

func TestLoadRefusesWhatIsNoOrdinaryFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, []byte(fill("a", 11<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "missing.yaml"), "no such file (give the path"},
		{dir, "is a directory (give a scenario file in it)"},
		{fifo, "is not a regular file"},
		{"/dev/zero", "is not a regular file"},
		{big, "is larger than 1 MiB"},
		{loop, "can't be read: too many levels of symbolic links"},
		{"a\x00b", "can't be read: invalid argument"},
	} {
		_, err := Load(c.path)
		if msg := problemText(t, err); !strings.HasPrefix(msg, c.path+": "+c.want) {
			t.Errorf("want %q, got %q", c.want, msg)
		}
	}
}

func TestAFileWithWindowsLineEndsAndAByteOrderMarkLoadsAsItsPlainSelf(t *testing.T) {
	want, err := Parse("s.yaml", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse("s.yaml", []byte("\ufeff"+strings.ReplaceAll(base, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, want, got)
}

func TestAChainOfThousandsOfServicesIsWalkedWithoutRecursion(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: meshproof/v1alpha1\nkind: Scenario\nmetadata: {name: chain}\nspec:\n  meshes: [{name: istio}]\n  expect: {mtls: {everywhere: true}}\n")
	b.WriteString("  topology:\n    clusters: [{name: east}]\n    services:\n")
	const n = 2000
	for i := range n {
		s := label(i)
		b.WriteString("    - {name: " + s + ", calls: [{to: " + label((i+1)%n) + "}]}\n")
	}
	_, err := Parse("s.yaml", []byte(b.String()))
	if got := problemText(t, err); len(problems(t, err)) != 1 || !strings.Contains(got, "the calls go in a circle: saaa → sbaa → ") || !strings.Contains(got, "…") {
		t.Errorf("got %.500s", got)
	}
}

func TestCallsThatMultiplyAreRefused(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		calls := ""
		if i < 39 {
			calls = ", calls: [{to: " + label(i+1) + "}, {to: " + label(i+1) + "}]"
		}
		b.WriteString("      - {name: " + label(i) + calls + "}\n")
	}
	doc := "apiVersion: meshproof/v1alpha1\nkind: Scenario\nmetadata: {name: tree}\nspec:\n  meshes: [{name: istio}]\n  expect: {mtls: {everywhere: true}}\n  topology:\n    clusters: [{name: east}]\n    services:\n" + b.String()
	_, err := Parse("s.yaml", []byte(doc))
	if got := problemText(t, err); len(problems(t, err)) != 1 || !strings.Contains(got, "spec.topology.services[0].calls: one request makes up to 1099511627774 calls") {
		t.Error(got)
	}
}

func label(i int) string {
	return "s" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26))
}
