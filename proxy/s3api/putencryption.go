package s3api

import (
	"errors"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/sse"
)

// checkCustomerTransport refuses customer keys that anybody on the way could
// have read, before it looks at anything else of them.
func (s *API) checkCustomerTransport(r *intake.Request) error {
	if sse.HasCustomerKey(r.Header) && !r.Origin.Secure && !s.o.CustomerKeysOverHTTP() {
		return errPlainHTTP
	}
	return nil
}

func writeHeaderError(r *intake.Request, err error) error {
	if errors.Is(err, sse.ErrIncompatible) {
		return intake.NewError(400, invalidArgument, sse.ErrIncompatible.Error())
	}
	return errArguments(r, err)
}

// askedOf is how the request asks for an object to be encrypted. What is wrong with the
// headers is told only to whom upstream would let write with them, but for a customer key
// that anybody on the way could have read.
func (s *API) askedOf(r *intake.Request) encryption.Asked {
	if err := s.checkCustomerTransport(r); err != nil {
		return encryption.Asked{Fault: err}
	}
	said, err := sse.ParseWrite(r.Header)
	if err != nil {
		return encryption.Asked{Fault: writeHeaderError(r, err), Hidden: true}
	}
	asked := encryption.Asked{Request: said}
	if len(said.ClientContext) > 0 {
		if _, err := kms.ParseClientContext(said.ClientContext); err != nil {
			asked.Fault, asked.Hidden = errArguments(r, err), true
		}
	}
	return asked
}
