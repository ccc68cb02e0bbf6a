//! CONNECT, the packet that names the version (section 3.1).

use super::decode::read_properties;
use super::encode::{Frame, properties_length, write_properties};
use super::error::{DecodeError, EncodeError};
use super::packet::{Connect, PacketType, Password, Will};
use super::properties::{PropertiesRef, PropertyId, Section};
use super::reader::Reader;
use super::version::Version;
use super::writer;
use tidegate_message::QoS;

/// The connect flags (section 3.1.2.3).
#[derive(Debug, Clone, Copy)]
struct Flags(u8);

impl Flags {
    const CLEAN_START: u8 = 0b0000_0010;
    const WILL: u8 = 0b0000_0100;
    const WILL_RETAIN: u8 = 0b0010_0000;
    const PASSWORD: u8 = 0b0100_0000;
    const USER_NAME: u8 = 0b1000_0000;

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// Checks all that the flags alone must fulfil; returns the will's level.
    fn check(self, version: Version) -> Result<QoS, DecodeError> {
        // [MQTT-3.1.2-3]; in 3.1 the flag is not used.
        if self.0 & 1 != 0 && version > Version::V31 {
            return Err(DecodeError::ConnectFlag);
        }
        // [MQTT-3.1.1/3.1.2-22]; MQTT 3.1 section 3.1.
        if version < Version::V5 && self.has(Flags::PASSWORD) && !self.has(Flags::USER_NAME) {
            return Err(DecodeError::PasswordWithoutUserName);
        }
        // MQTT 3.1 section 3.1: without a will its flags mean nothing.
        if version == Version::V31 && !self.has(Flags::WILL) {
            return Ok(QoS::AtMostOnce);
        }
        // [MQTT-3.1.2-11] to [MQTT-3.1.2-13], [MQTT-3.1.1/3.1.2-13] to [MQTT-3.1.1/3.1.2-15].
        let will_qos = QoS::from_number(self.0 >> 3 & 0b11).ok_or(DecodeError::WillFlags)?;
        let has_options = will_qos != QoS::AtMostOnce || self.has(Flags::WILL_RETAIN);
        match has_options && !self.has(Flags::WILL) {
            true => Err(DecodeError::WillFlags),
            false => Ok(will_qos),
        }
    }

    fn of(connect: &Connect<'_>) -> Flags {
        let set = |condition: bool, flag: u8| if condition { flag } else { 0 };
        let will = connect
            .will
            .as_ref()
            .map_or(0, |will| Flags::WILL | will.qos.number() << 3 | set(will.retain, Flags::WILL_RETAIN));
        Flags(
            will | set(connect.clean_start, Flags::CLEAN_START)
                | set(connect.user_name.is_some(), Flags::USER_NAME)
                | set(connect.password.is_some(), Flags::PASSWORD),
        )
    }
}

/// Reads the variable header and the payload. `is_shortest` tells about the remaining length, which 5.0 wants short.
pub(super) fn decode_connect<'a>(
    reader: &mut Reader<'a>,
    is_shortest: bool,
) -> Result<Connect<'a>, DecodeError> {
    let version = read_version(reader)?;
    // [MQTT-1.5.5-1]
    if version == Version::V5 && !is_shortest {
        return Err(DecodeError::VarintNotShortest);
    }
    let flags = Flags(reader.byte()?);
    let will_qos = flags.check(version)?;
    let keep_alive_seconds = reader.u16()?;
    let properties = read_properties(reader, version, Section::Connect)?;
    check_authentication(&properties)?;
    let client_id = reader.text()?;
    let will = match flags.has(Flags::WILL) {
        true => Some(decode_will(reader, version, will_qos, flags.has(Flags::WILL_RETAIN))?),
        false => None,
    };
    // MQTT 3.1 section 3.1: a packet that ends before a field that its flags promise does without it.
    let is_there =
        |flag, reader: &Reader<'_>| flags.has(flag) && (version > Version::V31 || !reader.is_empty());
    let user_name = is_there(Flags::USER_NAME, reader).then(|| reader.text()).transpose()?;
    let password = is_there(Flags::PASSWORD, reader).then(|| reader.binary()).transpose()?.map(Password);
    let clean_start = flags.has(Flags::CLEAN_START);
    Ok(Connect { version, clean_start, keep_alive_seconds, properties, client_id, will, user_name, password })
}

/// The name and the level ([MQTT-3.1.2-1] [MQTT-3.1.2-2]). Each version has one name.
fn read_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    let name = reader.binary()?;
    if ![Version::V31, Version::V3].iter().any(|version| version.protocol_name().as_bytes() == name) {
        return Err(DecodeError::ProtocolName);
    }
    let level = reader.byte()?;
    let version = Version::from_level(level).filter(|version| version.protocol_name().as_bytes() == name);
    version.ok_or(DecodeError::ProtocolLevel(level))
}

/// Section 3.1.2.11.10: data only beside a method.
fn check_authentication(properties: &PropertiesRef<'_>) -> Result<(), DecodeError> {
    let has = |id| properties.contains(id);
    match has(PropertyId::AuthenticationData) && !has(PropertyId::AuthenticationMethod) {
        true => Err(DecodeError::AuthenticationMethodMissing),
        false => Ok(()),
    }
}

fn decode_will<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    qos: QoS,
    retain: bool,
) -> Result<Will<'a>, DecodeError> {
    let properties = read_properties(reader, version, Section::Will)?;
    let topic = reader.text()?;
    let payload = reader.binary()?;
    Ok(Will { topic, payload, qos, retain, properties })
}

/// Appends a CONNECT in its own version.
pub(super) fn encode_connect(
    output: &mut Vec<u8>,
    connect: &Connect<'_>,
    packet_bytes_max: usize,
) -> Result<(), EncodeError> {
    let version = connect.version;
    check_connect(connect)?;
    let mut length = writer::text_length(version.protocol_name())? + 4;
    length += properties_length(version, &connect.properties, Section::Connect)?;
    length += writer::text_length(connect.client_id)?;
    if let Some(will) = &connect.will {
        length += properties_length(version, &will.properties, Section::Will)?;
        length += writer::text_length(will.topic)? + writer::binary_length(will.payload)?;
    }
    length += connect.user_name.map_or(Ok(0), writer::text_length)?;
    length += connect.password.map_or(Ok(0), |password| writer::binary_length(password.0))?;
    Frame::of(PacketType::Connect, length, packet_bytes_max)?.begin(output);
    write_connect(output, connect);
    Ok(())
}

fn check_connect(connect: &Connect<'_>) -> Result<(), EncodeError> {
    if connect.version < Version::V5 && connect.password.is_some() && connect.user_name.is_none() {
        return Err(EncodeError::PasswordWithoutUserName);
    }
    match connect.version {
        Version::V31 | Version::V3 => Ok(()),
        Version::V5 => {
            check_authentication(&connect.properties).map_err(|_| EncodeError::AuthenticationMethodMissing)
        }
    }
}

fn write_connect(output: &mut Vec<u8>, connect: &Connect<'_>) {
    let version = connect.version;
    writer::binary(output, version.protocol_name().as_bytes());
    output.push(version.level());
    output.push(Flags::of(connect).0);
    output.extend_from_slice(&connect.keep_alive_seconds.to_be_bytes());
    write_properties(output, version, &connect.properties);
    writer::binary(output, connect.client_id.as_bytes());
    if let Some(will) = &connect.will {
        write_properties(output, version, &will.properties);
        writer::binary(output, will.topic.as_bytes());
        writer::binary(output, will.payload);
    }
    if let Some(user_name) = connect.user_name {
        writer::binary(output, user_name.as_bytes());
    }
    if let Some(password) = connect.password {
        writer::binary(output, password.0);
    }
}
