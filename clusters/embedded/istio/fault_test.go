package istio

import (
	"testing"
	"time"
)

// faulty is a mesh whose route to shop has a fault.
func faulty(fault string) string {
	return "kind: VirtualService\nmetadata: {name: shop, namespace: app}\nspec: {hosts: [shop], http: [{fault: {" + fault + "}, route: [{destination: {host: shop}}]}]}\n"
}

func TestAnAbortedRequestIsAnsweredByTheCallersProxyAndNotRetried(t *testing.T) {
	m := newMesh(t, faulty("abort: {httpStatus: 503, percentage: {value: 50}}"))
	shop, cart := m.pod("shop", nil), m.pod("cart", nil)
	const n = 200
	got := map[int]int{}
	for range n {
		a := cart.out(t, "GET", "/")
		got[a.code]++
		if a.code == 503 && a.body != "fault filter abort" {
			t.Fatalf("%+v", a)
		}
	}
	// A half, with a standard deviation of 7.
	if got[503] < n/4 || got[503] > n*3/4 || got[200]+got[503] != n {
		t.Errorf("answers %v", got)
	}
	if arrived := len(shop.requests()); arrived != got[200] {
		t.Errorf("%d arrived, and %d were answered well", arrived, got[200])
	}
	if counted := cart.scrape(t, "istio_requests_total", "response_code", "503", "response_flags", "FI"); counted != float64(got[503]) {
		t.Errorf("counted %v", counted)
	}
}

func TestAHeldRequestArrivesLater(t *testing.T) {
	const delay = 300 * time.Millisecond
	m := newMesh(t, faulty("delay: {fixedDelay: 0.3s}"))
	m.pod("shop", nil)
	cart := m.pod("cart", nil)
	began := time.Now()
	if a := cart.out(t, "GET", "/"); a.code != 200 {
		t.Errorf("%+v", a)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("it took %s, want %s and more", took, delay)
	}
}
