package intake

import "testing"

// What the account costs each request where there is no audit log.
func withoutAccount(in *Intake, r *Request) error {
	a, w := in.open(r, nil)
	if err := r.intend(); err != nil {
		return err
	}
	_, _, _, err := in.settle(a, r, w, nil, nil, false, nil, nil)
	return err
}

func TestWithoutAnAuditLogNothingIsAllocated(t *testing.T) {
	in, r := &Intake{}, &Request{}
	if n := testing.AllocsPerRun(100, func() {
		if err := withoutAccount(in, r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkWithoutAnAuditLog(b *testing.B) {
	in, r := &Intake{}, &Request{}
	b.ReportAllocs()
	for b.Loop() {
		if err := withoutAccount(in, r); err != nil {
			b.Fatal(err)
		}
	}
}
