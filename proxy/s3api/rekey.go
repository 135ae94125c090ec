package s3api

import (
	"errors"
	"maps"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/bucketpolicy"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/objectencryption"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// updateObjectEncryption serves UpdateObjectEncryption. It answers when every proxy says how
// the object is encrypted now.
func updateObjectEncryption(s *API, w http.ResponseWriter, r *intake.Request) error {
	o := &vault.Rekey{Name: name(r), Version: r.Query.Get("versionId"), Asked: func() (*caller.Caller, encryption.Asked, error) {
		body, err := s.in.Document(r)
		if err != nil {
			return nil, encryption.Asked{}, err
		}
		asked, err := objectencryption.Parse(body)
		var wrong *objectencryption.Error
		if errors.As(err, &wrong) {
			// What is wrong is told to whom MinIO would let write.
			return s.writer(r), encryption.Asked{Fault: intake.NewError(400, invalidRequest, wrong.Reason), Hidden: true}, nil
		}
		return writesAs(s, r, asked), encryption.Asked{Request: *asked}, nil
	}}
	if err := s.vault.Rekey(r.Context(), s.reader(r), o); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// writesAs is a caller who asks for an encryption in a document, as if it did in headers: for
// the policies that look at these.
func writesAs(s *API, r *intake.Request, asked *sse.Request) *caller.Caller {
	c := s.writer(r)
	told := maps.Clone(c.Actor.Told)
	if told == nil {
		told = make(map[string][]string)
	}
	storage.TellEncryption(told, asked.Mode, asked.KMSKeyID)
	c.Actor.Told = told
	said := c.Policy
	c.Policy = func() map[string][]string {
		all := said()
		all[bucketpolicy.Method], all[bucketpolicy.KMSKeyID] = told[storage.ToldMethod], told[storage.ToldKMSKeyID]
		return all
	}
	return c
}
