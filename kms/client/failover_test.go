package client_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
)

func TestAnotherEndpointAnswersForOneThatFails(t *testing.T) {
	t.Parallel()
	for name, flt := range map[string]fault{
		"drops": {drop: true}, "502": {status: 502, message: "failed to read key"}, "503": {status: 503}, "504": {status: 504},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := startKES(t), startKES(t)
			bad.addKey("k", "x", time.Now())
			good.addKey("k", "x", time.Now())
			bad.inject("/v1/key/generate/", flt)
			c := dial(t, bad, good)
			for range 5 {
				_, err := c.GenerateDEK(t.Context(), "k", nil)
				must(t, err)
			}
			if n := bad.count("/v1/key/generate/"); n != 1 {
				t.Errorf("the failing endpoint was asked %d times", n)
			}
		})
	}
}

func TestClientsFaultIsNotTriedElsewhere(t *testing.T) {
	t.Parallel()
	first, second := startKES(t), startKES(t)
	second.addKey("k", "x", time.Now())
	_, err := dial(t, first, second).GenerateDEK(t.Context(), "k", nil)
	wantErr(t, err, kms.ErrKeyNotFound)
	if second.count("/v1/key/generate/") != 0 {
		t.Error("a 404 was tried elsewhere")
	}
}

func TestDeadEndpointIsSkipped(t *testing.T) {
	t.Parallel()
	good := startKES(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	dead := l.Addr().String()
	must(t, l.Close())
	opts := testOptions(t, good)
	opts.Endpoints = []string{dead, good.URL}
	c, err := client.New(opts)
	must(t, err)
	must(t, c.CreateKey(t.Context(), "k")) // nothing was sent to the dead one: no doubt about the outcome
	must(t, c.ImportKey(t.Context(), "k2", [32]byte{1}, kms.AES256))
}

func TestSingleEndpointIsTriedAgain(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	fake.addKey("k", "x", time.Now())
	fake.inject("/v1/key/generate/", fault{drop: true, times: 1})
	c := dial(t, fake)
	_, err := c.GenerateDEK(t.Context(), "k", nil)
	must(t, err)
	fake.inject("/v1/key/generate/", fault{status: 503, times: 1})
	_, err = c.GenerateDEK(t.Context(), "k", nil)
	must(t, err)
	fake.inject("/v1/key/generate/", fault{drop: true})
	before := fake.count("/v1/key/generate/")
	_, err = c.GenerateDEK(t.Context(), "k", nil)
	wantErr(t, err, kms.ErrUnavailable)
	if n := fake.count("/v1/key/generate/") - before; n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

func TestHangingServerIsUnavailable(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	fake.inject("/v1/key/describe/", fault{delay: 10 * time.Second})
	opts := testOptions(t, fake)
	opts.Timeout = 100 * time.Millisecond
	c, err := client.New(opts)
	must(t, err)
	_, err = c.DescribeKey(t.Context(), "k")
	wantErr(t, err, kms.ErrUnavailable)
}

func TestCreateWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	for name, flt := range map[string]fault{
		"dropped": {drop: true, acted: true, times: 1},
		"503":     {status: 503, acted: true, times: 1},
	} {
		fake := startKES(t)
		c := dial(t, fake)
		fake.inject("/v1/key/create/", flt)
		if err := c.CreateKey(t.Context(), "k"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantErr(t, c.CreateKey(t.Context(), "k"), kms.ErrKeyExists)
	}
}

func TestCreateFindsAnothersKeyAfterALostAnswer(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	fake.addKey("others", "somebody else", time.Now())
	fake.addKey("old", c.Identity(), time.Now().Add(-time.Hour))
	for _, name := range []string{"others", "old"} {
		fake.inject("/v1/key/create/", fault{drop: true, times: 1})
		wantErr(t, c.CreateKey(t.Context(), name), kms.ErrKeyExists)
	}
	fake.inject("/v1/key/create/", fault{drop: true, times: 1})
	fake.inject("/v1/key/describe/", fault{status: 403})
	err := c.CreateKey(t.Context(), "others")
	wantErr(t, err, client.ErrUnknownOutcome)
	if errors.Is(err, kms.ErrKeyExists) {
		t.Errorf("claims that the key existed before: %v", err)
	}
}

func TestImportIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	fake, other := startKES(t), startKES(t)
	fake.inject("/v1/key/import/", fault{drop: true, acted: true, times: 1})
	err := dial(t, fake, other).ImportKey(t.Context(), "k", [32]byte{1}, kms.AES256)
	wantErr(t, err, client.ErrUnknownOutcome)
	wantErr(t, err, kms.ErrUnavailable)
	if fake.count("/v1/key/import/")+other.count("/v1/key/import/") != 1 {
		t.Error("an import was sent twice")
	}
}

func TestDeleteWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	fake.addKey("k", "x", time.Now())
	fake.inject("/v1/key/delete/", fault{drop: true, acted: true, times: 1})
	must(t, dial(t, fake).DeleteKey(t.Context(), "k"))
	if n := fake.count("/v1/key/delete/"); n != 2 { // the first may have been cut off
		t.Errorf("it was sent %d times", n)
	}
	for _, again := range []fault{{drop: true, acted: true, times: 2}, {status: 502, acted: true, times: 2}} {
		fake.addKey("k", "x", time.Now())
		fake.inject("/v1/key/delete/", again)
		err := dial(t, fake).DeleteKey(t.Context(), "k")
		wantErr(t, err, client.ErrUnknownOutcome)
		wantErr(t, err, kms.ErrUnavailable)
	}
}

// Between a delete whose answer was lost and a second one, somebody may have
// created a key of that name anew.
func TestDeleteIsNotSentAgainWhileThereIsAKey(t *testing.T) {
	t.Parallel()
	for name, flt := range map[string]fault{
		"dropped": {drop: true, acted: true, times: 1},
		"503":     {status: 503, acted: true, times: 1},
		"502":     {status: 502, acted: true, times: 1},
	} {
		fake, other := startKES(t), startKES(t)
		for _, server := range []*fakeKES{fake, other} {
			server.addKey("k", "x", time.Now())
			server.inject("/v1/key/delete/", flt)
		}
		err := dial(t, fake, other).DeleteKey(t.Context(), "k")
		if n := fake.count("/v1/key/delete/") + other.count("/v1/key/delete/"); n != 1 {
			t.Errorf("%s: a delete was sent %d times", name, n)
		}
		if fake.count("/v1/key/describe/")+other.count("/v1/key/describe/") == 0 {
			t.Errorf("%s: nobody looked whether the key is gone", name)
		}
		if err != nil && !errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rival := startKES(t)
	rival.addKey("k", "a rival", time.Now())
	rival.inject("/v1/key/delete/", fault{drop: true, times: 1})
	err := dial(t, rival).DeleteKey(t.Context(), "k")
	wantErr(t, err, client.ErrUnknownOutcome)
	wantErr(t, err, kms.ErrUnavailable)
	if _, err := dial(t, rival).DescribeKey(t.Context(), "k"); err != nil {
		t.Errorf("the rival's key: %v", err)
	}
}
