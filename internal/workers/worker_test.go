package workers

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
)

func TestAWorkerRefusesWhatItCannotSend(t *testing.T) {
	for name, o := range map[string]order{"another version": {Version: 99}, "no attack": {Version: protocolVersion}, "no roots": {Version: protocolVersion, TLS: TLS{CA: "/nowhere"}}} {
		in, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		var l line
		if err := Work(context.Background(), bytes.NewReader(in), &out, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := json.Unmarshal(out.Bytes(), &l); err != nil || l.End == nil || l.End.Error == "" {
			t.Errorf("%s: it says %s", name, out.String())
		}
	}
	for _, in := range []string{"", "rubbish", "{}{"} {
		if err := Work(context.Background(), strings.NewReader(in), &bytes.Buffer{}, nil); err == nil && in != "{}{" {
			t.Errorf("%q is an order", in)
		}
	}
}
