//! Who a client is, as it is kept: what rights and ownership are judged by. No secrets are among it.

use super::{Reader, Writer};
use crate::Damaged;
use tidegate_protocol::{CredentialStamp, Identity, Proof};

const NOTHING: u8 = 0;
const CERTIFICATE: u8 = 1;
const CREDENTIALS: u8 = 2;
const PROCESS: u8 = 3;

pub(super) fn write(identity: &Identity, writer: &mut Writer<'_>) {
    writer.optional_text(identity.user.as_deref());
    writer.optional_text(identity.client_id.as_deref());
    writer.text(&identity.listener);
    match identity.proof {
        Proof::Nothing => writer.byte(NOTHING),
        Proof::Certificate => writer.byte(CERTIFICATE),
        Proof::Process => writer.byte(PROCESS),
        Proof::Credentials(stamp) => {
            writer.byte(CREDENTIALS);
            writer.number(stamp.0);
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<Identity, Damaged> {
    let user = reader.optional_text()?.map(Box::from);
    let client_id = reader.optional_text()?.map(Box::from);
    let listener = reader.text()?.into();
    let proof = match reader.byte()? {
        NOTHING => Proof::Nothing,
        CERTIFICATE => Proof::Certificate,
        CREDENTIALS => Proof::Credentials(CredentialStamp(reader.number()?)),
        PROCESS => Proof::Process,
        _ => return Err(Damaged),
    };
    Ok(Identity { user, client_id, listener, proof })
}

#[cfg(test)]
pub(super) fn any_identity() -> impl proptest::strategy::Strategy<Value = Identity> {
    use proptest::option;
    use proptest::prelude::*;
    let proof = prop_oneof![
        Just(Proof::Nothing),
        Just(Proof::Certificate),
        Just(Proof::Process),
        any::<u64>().prop_map(|stamp| Proof::Credentials(CredentialStamp(stamp))),
    ];
    let name = || option::of("[a-zß]{0,6}".prop_map(|name| Box::from(name.as_str())));
    (name(), name(), "[a-z]{0,5}", proof).prop_map(|(user, client_id, listener, proof)| Identity {
        user,
        client_id,
        listener: listener.into(),
        proof,
    })
}
