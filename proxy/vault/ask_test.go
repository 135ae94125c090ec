package vault

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/sse"
)

func TestPartSendersAreForgottenInTimeAndInNumber(t *testing.T) {
	t.Parallel()
	var p partSenders
	sender := func(name, upload string) partSender {
		return partSenderOf(&caller.Caller{Name: name}, sse.Name{}, upload)
	}
	c := sender("a", "u")
	if p.has(c) {
		t.Error("knows a caller of whom nobody said anything")
	}
	p.add(c)
	if !p.has(c) || p.has(sender("b", "u")) || p.has(sender("a", "v")) {
		t.Error("does not know the one caller and upload")
	}
	p.till[c] = time.Now().Add(-time.Second)
	if p.has(c) {
		t.Error("knows a caller for longer than it should")
	}
	for i := range maxAsked + 5 {
		p.add(sender("a", strconv.Itoa(i)))
	}
	if len(p.till) > maxAsked {
		t.Errorf("%d callers are remembered", len(p.till))
	}
}

func TestNoSendersOfPartsAreRememberedWithoutAnUpload(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	if err := s.CreateBucket("b", memory.Unversioned); err != nil {
		t.Fatal(err)
	}
	v := &Vault{o: Options{Storage: s}}
	c, named := new(caller.Caller), Upload{Name: sse.Name{Bucket: "b", Key: "k"}, ID: "none"}
	if _, err := v.upload(t.Context(), c, named, storage.SendPart); !errors.Is(err, ErrNoSuchUpload) || len(v.senders.till) != 0 {
		t.Errorf("%v, %d senders are remembered", err, len(v.senders.till))
	}
	if err := v.maySendPart(t.Context(), c, named, storage.Encryption{}, storage.SendPart); err != nil || !v.senders.has(partSenderOf(c, named.Name, named.ID)) {
		t.Errorf("a sender is not remembered: %v", err)
	}
	c.Actor.Referer = "other"
	if v.senders.has(partSenderOf(c, named.Name, named.ID)) {
		t.Error("a sender is taken for another")
	}
}
