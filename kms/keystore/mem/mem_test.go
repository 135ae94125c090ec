package mem_test

import (
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/keystoretest"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	keystoretest.Run(t, func(*testing.T) kms.Store { return mem.New() })
}

func TestLongValuesFit(t *testing.T) {
	t.Parallel()
	s := mem.New()
	if err := s.Create(t.Context(), "key", make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "key"); err != nil || len(got) != 64<<10 {
		t.Errorf("Get: %d bytes, %v", len(got), err)
	}
}
